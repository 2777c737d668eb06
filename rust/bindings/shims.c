// SPDX-License-Identifier: GPL-2.0
/*
 * Functions for what Rust cannot call, inline functions and macros, and the module parameters
 * that module! cannot declare: strings. Nothing else belongs here; the contract of each shim is
 * that of the C function or macro it stands for.
 */
#include <linux/blkdev.h>
#include <linux/compat.h>
#include <linux/cred.h>
#include <linux/dax.h>
#include <linux/highmem.h>
#include <linux/jbd2.h>
#include <linux/kdev_t.h>
#include <linux/posix_acl_xattr.h>
#include <linux/moduleparam.h>
#include <linux/ratelimit.h>
#include <linux/sched/mm.h>
#include <linux/version.h>

#include "shims.h"

/* linux/blkdev.h */

unsigned int rdaxfs_bdev_dma_alignment(struct block_device *bdev)
{
	return bdev_dma_alignment(bdev);
}

unsigned int rdaxfs_bdev_logical_block_size(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

u64 rdaxfs_bdev_nr_bytes(struct block_device *bdev)
{
	return bdev_nr_bytes(bdev);
}

bool rdaxfs_bdev_read_only(struct block_device *bdev)
{
	return bdev_read_only(bdev);
}

unsigned int rdaxfs_bdev_write_zeroes_unmap_sectors(struct block_device *bdev)
{
	return bdev_write_zeroes_unmap_sectors(bdev);
}

unsigned int rdaxfs_bdev_discard_granularity(struct block_device *bdev)
{
	return bdev_max_discard_sectors(bdev) ? bdev_discard_granularity(bdev) : 0;
}

/* linux/buffer_head.h */

void rdaxfs_brelse(struct buffer_head *bh)
{
	brelse(bh);
}

bool rdaxfs_buffer_jbd(struct buffer_head *bh)
{
	return buffer_jbd(bh);
}

bool rdaxfs_buffer_revoked(struct buffer_head *bh)
{
	return buffer_revoked(bh);
}

bool rdaxfs_buffer_verified(struct buffer_head *bh)
{
	return buffer_verified(bh);
}

void rdaxfs_clear_buffer_dirty(struct buffer_head *bh)
{
	clear_buffer_dirty(bh);
}

void rdaxfs_clear_buffer_uptodate(struct buffer_head *bh)
{
	clear_buffer_uptodate(bh);
}

void rdaxfs_clear_buffer_verified(struct buffer_head *bh)
{
	clear_buffer_verified(bh);
}

void rdaxfs_get_bh(struct buffer_head *bh)
{
	get_bh(bh);
}

void rdaxfs_lock_buffer(struct buffer_head *bh)
{
	lock_buffer(bh);
}

struct buffer_head *rdaxfs_sb_bread(struct super_block *sb, sector_t block)
{
	struct buffer_head *bh = sb_getblk(sb, block);

	if (!bh)
		return NULL;
	/* What was found right was lost if writing it failed. */
	if (!buffer_uptodate(bh))
		clear_buffer_verified(bh);
	if (bh_read(bh, 0) < 0) {
		brelse(bh);
		return NULL;
	}
	return bh;
}

struct buffer_head *rdaxfs_sb_find_get_block(struct super_block *sb, sector_t block)
{
	return sb_find_get_block_nonatomic(sb, block);
}

struct buffer_head *rdaxfs_sb_getblk(struct super_block *sb, sector_t block)
{
	return sb_getblk(sb, block);
}

void rdaxfs_set_buffer_uptodate(struct buffer_head *bh)
{
	set_buffer_uptodate(bh);
}

void rdaxfs_set_buffer_verified(struct buffer_head *bh)
{
	set_buffer_verified(bh);
}

/* linux/capability.h */

bool rdaxfs_capable_sys_admin(void)
{
	return capable(CAP_SYS_ADMIN);
}

/* linux/compat.h */

bool rdaxfs_in_compat_syscall(void)
{
	return in_compat_syscall();
}

/* linux/cred.h */

bool rdaxfs_may_use_reserved(uid_t uid, gid_t gid)
{
	return uid_eq(current_fsuid(), make_kuid(&init_user_ns, uid)) ||
	       (gid && in_group_p(make_kgid(&init_user_ns, gid))) ||
	       capable(CAP_SYS_RESOURCE);
}

/* linux/dax.h */

void rdaxfs_dax_break_layout_final(struct inode *inode)
{
	if (IS_DAX(inode))
		dax_break_layout_final(inode);
}

/* linux/fs.h */

void rdaxfs_file_accessed(struct file *file)
{
	file_accessed(file);
}

bool rdaxfs_file_owner_or_capable(struct file *file)
{
	return inode_owner_or_capable(file_mnt_idmap(file), file_inode(file));
}

ssize_t rdaxfs_generic_write_sync(struct kiocb *iocb, ssize_t count)
{
	return generic_write_sync(iocb, count);
}

bool rdaxfs_mapping_mapped(struct address_space *mapping)
{
	return mapping_mapped(mapping);
}

void rdaxfs_sb_end_pagefault(struct super_block *sb)
{
	sb_end_pagefault(sb);
}

void rdaxfs_sb_start_pagefault(struct super_block *sb)
{
	sb_start_pagefault(sb);
}

bool rdaxfs_dir_emit(struct dir_context *ctx, const char *name, int namelen, u64 ino,
		     unsigned int type)
{
	return dir_emit(ctx, name, namelen, ino, type);
}

gid_t rdaxfs_i_gid_read(struct inode *inode)
{
	return i_gid_read(inode);
}

bool rdaxfs_i_gid_needs_update(struct mnt_idmap *idmap, const struct iattr *attr,
			       const struct inode *inode)
{
	return i_gid_needs_update(idmap, attr, inode);
}

bool rdaxfs_i_uid_needs_update(struct mnt_idmap *idmap, const struct iattr *attr,
			       const struct inode *inode)
{
	return i_uid_needs_update(idmap, attr, inode);
}

void rdaxfs_i_gid_write(struct inode *inode, gid_t gid)
{
	i_gid_write(inode, gid);
}

loff_t rdaxfs_i_size_read(struct inode *inode)
{
	return i_size_read(inode);
}

void rdaxfs_i_size_write(struct inode *inode, loff_t size)
{
	i_size_write(inode, size);
}

uid_t rdaxfs_i_uid_read(struct inode *inode)
{
	return i_uid_read(inode);
}

void rdaxfs_i_uid_write(struct inode *inode, uid_t uid)
{
	i_uid_write(inode, uid);
}

struct timespec64 rdaxfs_inode_get_atime(struct inode *inode)
{
	return inode_get_atime(inode);
}

struct timespec64 rdaxfs_inode_get_ctime(struct inode *inode)
{
	return inode_get_ctime(inode);
}

struct timespec64 rdaxfs_inode_get_mtime(struct inode *inode)
{
	return inode_get_mtime(inode);
}

bool rdaxfs_inode_is_new(struct inode *inode)
{
	return inode_state_read_once(inode) & I_NEW;
}

void rdaxfs_inode_lock(struct inode *inode)
{
	inode_lock(inode);
}

void rdaxfs_inode_lock_shared(struct inode *inode)
{
	inode_lock_shared(inode);
}

void rdaxfs_inode_set_atime(struct inode *inode, struct timespec64 ts)
{
	inode_set_atime_to_ts(inode, ts);
}

void rdaxfs_inode_set_mtime(struct inode *inode, struct timespec64 ts)
{
	inode_set_mtime_to_ts(inode, ts);
}

bool rdaxfs_inode_trylock(struct inode *inode)
{
	return inode_trylock(inode);
}

bool rdaxfs_inode_trylock_shared(struct inode *inode)
{
	return inode_trylock_shared(inode);
}

void rdaxfs_inode_unlock(struct inode *inode)
{
	inode_unlock(inode);
}

void rdaxfs_inode_unlock_shared(struct inode *inode)
{
	inode_unlock_shared(inode);
}

bool rdaxfs_is_dirsync(struct inode *inode)
{
	return IS_DIRSYNC(inode);
}

bool rdaxfs_is_sync(struct inode *inode)
{
	return IS_SYNC(inode);
}

void rdaxfs_sb_end_intwrite(struct super_block *sb)
{
	sb_end_intwrite(sb);
}

void rdaxfs_sb_force_rdonly(struct super_block *sb)
{
	/* Pairs with the barrier of writers that test the flag after they changed state. */
	smp_wmb();
	sb->s_flags |= SB_RDONLY;
}

void rdaxfs_sb_try_force_rdonly(struct super_block *sb)
{
	if (!down_write_trylock(&sb->s_umount))
		return;
	/* thaw_super() leaves the locks of a read-only file system as they are. */
	if (sb->s_writers.frozen == SB_UNFROZEN)
		rdaxfs_sb_force_rdonly(sb);
	up_write(&sb->s_umount);
}

void rdaxfs_sb_start_intwrite(struct super_block *sb)
{
	sb_start_intwrite(sb);
}

void rdaxfs_set_inode_metadata_writeback(struct inode *inode)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0) /* see vfs/compat.rs */
	set_inode_metadata_writeback(inode);
#endif
}

void rdaxfs_super_set_sysfs_name_bdev(struct super_block *sb)
{
	super_set_sysfs_name_bdev(sb);
}

/* linux/jbd2.h */

void *rdaxfs_journal_current_handle(void)
{
	return journal_current_handle();
}

bool rdaxfs_journal_is_aborted(journal_t *journal)
{
	return is_journal_aborted(journal);
}

tid_t rdaxfs_journal_latest(journal_t *journal)
{
	return jbd2_get_latest_transaction(journal);
}

void rdaxfs_journal_set_options(journal_t *journal, unsigned int seconds, bool barrier)
{
	write_lock(&journal->j_state_lock);
	journal->j_commit_interval = seconds * HZ;
	if (barrier)
		journal->j_flags |= JBD2_BARRIER;
	else
		journal->j_flags &= ~JBD2_BARRIER;
	write_unlock(&journal->j_state_lock);
}

void rdaxfs_set_journal_info(void *info)
{
	current->journal_info = info;
}

/* linux/kdev_t.h */

dev_t rdaxfs_new_decode_dev(u32 dev)
{
	return new_decode_dev(dev);
}

u32 rdaxfs_new_encode_dev(dev_t dev)
{
	return new_encode_dev(dev);
}

/* linux/highmem.h */

void rdaxfs_memcpy_from_folio(char *to, struct folio *folio, size_t offset, size_t len)
{
	memcpy_from_folio(to, folio, offset, len);
}

void rdaxfs_memcpy_to_folio(struct folio *folio, size_t offset, const char *from, size_t len)
{
	memcpy_to_folio(folio, offset, from, len);
}

/* linux/list.h */

void rdaxfs_list_del_init(struct list_head *entry)
{
	list_del_init(entry);
}

/* linux/lockdep.h */

void rdaxfs_rwsem_set_subclass(struct rw_semaphore *sem, unsigned int subclass)
{
	lockdep_set_subclass(sem, subclass);
}

/* linux/mm.h */

bool rdaxfs_folio_maybe_dma_pinned(struct folio *folio)
{
	return folio_maybe_dma_pinned(folio);
}

size_t rdaxfs_offset_in_folio(struct folio *folio, loff_t pos)
{
	return offset_in_folio(folio, pos);
}

bool rdaxfs_vma_desc_is_sync(const struct vm_area_desc *desc)
{
	return vma_desc_test(desc, VMA_SYNC_BIT);
}

void rdaxfs_vma_desc_set_dax(struct vm_area_desc *desc)
{
	vma_desc_set_flags(desc, VMA_MIXEDMAP_BIT, VMA_HUGEPAGE_BIT);
}

void rdaxfs_vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
	vm_flags_mod(vma, set, clear);
}

/* linux/moduleparam.h */

char *rdaxfs_fstype = "rdaxfs";
/* Not for sparse, of which 0.6.4 takes the length of a string for no constant. */
#ifndef __CHECKER__
module_param_named(fstype, rdaxfs_fstype, charp, 0444);
MODULE_PARM_DESC(fstype, "name under which the file system is registered (default: rdaxfs)");
#endif

char *rdaxfs_dax_switch = "live";
#ifndef __CHECKER__
module_param_named(dax_switch, rdaxfs_dax_switch, charp, 0444);
MODULE_PARM_DESC(dax_switch, "default of the mount option: live or deferred (default: live)");
#endif

/* linux/pagemap.h */

bool rdaxfs_mapping_empty(struct address_space *mapping)
{
	return mapping_empty(mapping);
}

void rdaxfs_mapping_set_folio_order_range(struct address_space *mapping,
					  unsigned int min, unsigned int max)
{
	mapping_set_folio_order_range(mapping, min, max);
}

/* linux/posix_acl.h */

void rdaxfs_cache_no_acl(struct inode *inode)
{
	cache_no_acl(inode);
}

int rdaxfs_posix_acl_chmod(struct mnt_idmap *idmap, struct dentry *dentry, umode_t mode)
{
	return posix_acl_chmod(idmap, dentry, mode);
}

int rdaxfs_posix_acl_create(struct inode *dir, umode_t *mode, struct posix_acl **default_acl,
			    struct posix_acl **acl)
{
	return posix_acl_create(dir, mode, default_acl, acl);
}

void rdaxfs_posix_acl_get(struct posix_acl *acl)
{
	posix_acl_dup(acl);
}

void rdaxfs_posix_acl_release(struct posix_acl *acl)
{
	posix_acl_release(acl);
}

/* Without CONFIG_FS_POSIX_ACL the VFS never sets a list. */
int rdaxfs_posix_acl_update_mode(struct mnt_idmap *idmap, struct inode *inode, umode_t *mode,
				 struct posix_acl **acl)
{
#ifdef CONFIG_FS_POSIX_ACL
	return posix_acl_update_mode(idmap, inode, mode, acl);
#else
	return -EOPNOTSUPP;
#endif
}

void rdaxfs_set_cached_acl(struct inode *inode, int type, struct posix_acl *acl)
{
#ifdef CONFIG_FS_POSIX_ACL
	set_cached_acl(inode, type, acl);
#endif
}

/* linux/posix_acl_xattr.h */

struct posix_acl *rdaxfs_posix_acl_from_xattr(const void *value, size_t size)
{
	return posix_acl_from_xattr(&init_user_ns, value, size);
}

void *rdaxfs_posix_acl_to_xattr(const struct posix_acl *acl, size_t *size)
{
	return posix_acl_to_xattr(&init_user_ns, acl, size, GFP_NOFS);
}

/* linux/printk.h */

bool rdaxfs_printk_ratelimit(void)
{
	static DEFINE_RATELIMIT_STATE(state, 5 * HZ, 100);

	return __ratelimit(&state);
}

/* linux/rcupdate.h */

void rdaxfs_synchronize_rcu_tasks(void)
{
	synchronize_rcu_tasks();
}

/* linux/rwsem.h */

/* A section without preemption is one that RCU waits for: see call_rcu. rcu_read_lock costs 20 instructions. */
void rdaxfs_up_read_rcu(struct rw_semaphore *sem)
{
	preempt_disable();
	up_read(sem);
	preempt_enable();
}

/* linux/sched/mm.h */

void rdaxfs_memalloc_nofs_restore(unsigned int flags)
{
	memalloc_nofs_restore(flags);
}

unsigned int rdaxfs_memalloc_nofs_save(void)
{
	return memalloc_nofs_save();
}

void rdaxfs_memalloc_retry_wait(void)
{
	memalloc_retry_wait(GFP_NOFS);
}

/* linux/security.h */

int rdaxfs_security_inode_init_security(struct inode *inode, struct inode *dir,
					const struct qstr *name, initxattrs initxattrs, void *fs_data)
{
	return security_inode_init_security(inode, dir, name, initxattrs, fs_data);
}

/* linux/slab.h */

slab_flags_t rdaxfs_inode_slab_flags(void)
{
	return SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT;
}

/* linux/workqueue.h */

struct workqueue_struct *rdaxfs_alloc_workqueue(const char *id)
{
	return alloc_workqueue("rdaxfs/%s", WQ_MEM_RECLAIM | WQ_UNBOUND, 0, id);
}

void rdaxfs_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

bool rdaxfs_queue_work(struct workqueue_struct *wq, struct work_struct *work)
{
	return queue_work(wq, work);
}
