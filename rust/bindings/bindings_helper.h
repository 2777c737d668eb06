/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The C headers whose declarations kernel::bindings lacks, or has only as opaque types.
 * Everything that a header in this list declares itself is generated, and nothing that
 * it includes. To have more, add the header here; a header that kernel::bindings covers
 * (pagemap.h, seq_file.h, uio.h, writeback.h, xattr.h, …) does not belong here, since its
 * types would then be there twice.
 *
 * A constant that bindgen does not see (a macro that is no plain number) is written as
 * RDAXFS_CONST_NAME below, and is NAME in Rust.
 */

#include <linux/buffer_head.h>
#include <linux/crc32.h>
#include <linux/dax.h>
#include <linux/exportfs.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fileattr.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/iomap.h>
#include <linux/jbd2.h>
#include <linux/journal-head.h>
#include <linux/pipe_fs_i.h>
#include <linux/posix_acl.h>
#include <linux/quotaops.h>
#include <linux/splice.h>
#include <linux/statfs.h>
#include <uapi/linux/falloc.h>
#include <uapi/linux/fiemap.h>

#include "rdaxfs_trace.h"
#include "shims.h"

const fmode_t RDAXFS_CONST_FMODE_32BITHASH = FMODE_32BITHASH;
const fmode_t RDAXFS_CONST_FMODE_64BITHASH = FMODE_64BITHASH;
const blk_mode_t RDAXFS_CONST_BLK_OPEN_JOURNAL =
	BLK_OPEN_READ | BLK_OPEN_WRITE | BLK_OPEN_RESTRICT_WRITES;
const unsigned long RDAXFS_CONST_SB_POSIXACL = SB_POSIXACL;
const unsigned long RDAXFS_CONST_SB_RDONLY = SB_RDONLY;
const int RDAXFS_CONST_I_DIRTY = I_DIRTY;
const int RDAXFS_CONST_IOCB_APPEND = IOCB_APPEND;
const int RDAXFS_CONST_IOCB_NOWAIT = IOCB_NOWAIT;
const unsigned int RDAXFS_CONST_DQUOT_LIMITS_ENABLED = DQUOT_LIMITS_ENABLED;
const unsigned int RDAXFS_CONST_DQUOT_NOLIST_DIRTY = DQUOT_NOLIST_DIRTY;
const unsigned int RDAXFS_CONST_DQUOT_QUOTA_SYS_FILE = DQUOT_QUOTA_SYS_FILE;
const unsigned int RDAXFS_CONST_DQUOT_SUSPENDED = DQUOT_SUSPENDED;
const unsigned int RDAXFS_CONST_DQUOT_USAGE_ENABLED = DQUOT_USAGE_ENABLED;
const unsigned int RDAXFS_CONST_PMD_ORDER = PMD_ORDER;
const unsigned long RDAXFS_CONST_VM_LOCKED_MASK = VM_LOCKED_MASK;
const unsigned int RDAXFS_CONST_VM_FAULT_ERROR = VM_FAULT_ERROR;
const fmode_t RDAXFS_CONST_FMODE_WRITE = FMODE_WRITE;
const fmode_t RDAXFS_CONST_FMODE_REGULAR = FMODE_NOWAIT | FMODE_CAN_ODIRECT;
const fop_flags_t RDAXFS_CONST_FOP_REGULAR =
	FOP_MMAP_SYNC | FOP_BUFFER_RASYNC | FOP_DIO_PARALLEL_WRITE;

/* linux/filelock.h, the rest of which would make struct file_lease there twice */
int generic_setlease(struct file *filp, int arg, struct file_lease **lease, void **priv);
