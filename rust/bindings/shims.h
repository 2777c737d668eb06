/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Prototypes of the shims in shims.c, for bindgen and for the C compiler.
 * One section per kernel header, sorted; shims are named rdaxfs_ and the C name.
 */
#ifndef RDAXFS_SHIMS_H
#define RDAXFS_SHIMS_H

#include <linux/buffer_head.h>
#include <linux/fs.h>
#include <linux/jbd2.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/posix_acl.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

/* linux/blkdev.h */
unsigned int rdaxfs_bdev_dma_alignment(struct block_device *bdev);
unsigned int rdaxfs_bdev_logical_block_size(struct block_device *bdev);
u64 rdaxfs_bdev_nr_bytes(struct block_device *bdev);
bool rdaxfs_bdev_read_only(struct block_device *bdev);
unsigned int rdaxfs_bdev_discard_granularity(struct block_device *bdev);
unsigned int rdaxfs_bdev_write_zeroes_unmap_sectors(struct block_device *bdev);

/* linux/buffer_head.h */
void rdaxfs_brelse(struct buffer_head *bh);
bool rdaxfs_buffer_jbd(struct buffer_head *bh);
bool rdaxfs_buffer_revoked(struct buffer_head *bh);
bool rdaxfs_buffer_verified(struct buffer_head *bh);
void rdaxfs_clear_buffer_dirty(struct buffer_head *bh);
void rdaxfs_clear_buffer_uptodate(struct buffer_head *bh);
void rdaxfs_clear_buffer_verified(struct buffer_head *bh);
void rdaxfs_get_bh(struct buffer_head *bh);
void rdaxfs_lock_buffer(struct buffer_head *bh);
struct buffer_head *rdaxfs_sb_bread(struct super_block *sb, sector_t block);
struct buffer_head *rdaxfs_sb_find_get_block(struct super_block *sb, sector_t block);
struct buffer_head *rdaxfs_sb_getblk(struct super_block *sb, sector_t block);
void rdaxfs_set_buffer_uptodate(struct buffer_head *bh);
void rdaxfs_set_buffer_verified(struct buffer_head *bh);

/* linux/capability.h */
bool rdaxfs_capable_sys_admin(void);

/* linux/compat.h */
bool rdaxfs_in_compat_syscall(void);

/* linux/cred.h */
bool rdaxfs_may_use_reserved(uid_t uid, gid_t gid);

/* linux/dax.h */
void rdaxfs_dax_break_layout_final(struct inode *inode);

/* linux/fs.h */
bool rdaxfs_dir_emit(struct dir_context *ctx, const char *name, int namelen, u64 ino,
		     unsigned int type);
void rdaxfs_file_accessed(struct file *file);
bool rdaxfs_file_owner_or_capable(struct file *file);
ssize_t rdaxfs_generic_write_sync(struct kiocb *iocb, ssize_t count);
gid_t rdaxfs_i_gid_read(struct inode *inode);
bool rdaxfs_i_gid_needs_update(struct mnt_idmap *idmap, const struct iattr *attr,
			       const struct inode *inode);
void rdaxfs_i_gid_write(struct inode *inode, gid_t gid);
loff_t rdaxfs_i_size_read(struct inode *inode);
void rdaxfs_i_size_write(struct inode *inode, loff_t size);
uid_t rdaxfs_i_uid_read(struct inode *inode);
bool rdaxfs_i_uid_needs_update(struct mnt_idmap *idmap, const struct iattr *attr,
			       const struct inode *inode);
void rdaxfs_i_uid_write(struct inode *inode, uid_t uid);
struct timespec64 rdaxfs_inode_get_atime(struct inode *inode);
struct timespec64 rdaxfs_inode_get_ctime(struct inode *inode);
struct timespec64 rdaxfs_inode_get_mtime(struct inode *inode);
bool rdaxfs_inode_is_new(struct inode *inode);
void rdaxfs_inode_lock(struct inode *inode);
void rdaxfs_inode_lock_shared(struct inode *inode);
void rdaxfs_inode_set_atime(struct inode *inode, struct timespec64 ts);
void rdaxfs_inode_set_mtime(struct inode *inode, struct timespec64 ts);
bool rdaxfs_inode_trylock(struct inode *inode);
bool rdaxfs_inode_trylock_shared(struct inode *inode);
void rdaxfs_inode_unlock(struct inode *inode);
void rdaxfs_inode_unlock_shared(struct inode *inode);
bool rdaxfs_is_dirsync(struct inode *inode);
bool rdaxfs_is_sync(struct inode *inode);
bool rdaxfs_mapping_mapped(struct address_space *mapping);
void rdaxfs_sb_end_intwrite(struct super_block *sb);
void rdaxfs_sb_end_pagefault(struct super_block *sb);
void rdaxfs_sb_force_rdonly(struct super_block *sb);
void rdaxfs_sb_try_force_rdonly(struct super_block *sb);
void rdaxfs_sb_start_intwrite(struct super_block *sb);
void rdaxfs_sb_start_pagefault(struct super_block *sb);
void rdaxfs_super_set_sysfs_name_bdev(struct super_block *sb);
void rdaxfs_set_inode_metadata_writeback(struct inode *inode);

/* linux/jbd2.h */
void *rdaxfs_journal_current_handle(void);
bool rdaxfs_journal_is_aborted(journal_t *journal);
tid_t rdaxfs_journal_latest(journal_t *journal);
void rdaxfs_journal_set_options(journal_t *journal, unsigned int seconds, bool barrier);
void rdaxfs_set_journal_info(void *info);

/* linux/kdev_t.h */
dev_t rdaxfs_new_decode_dev(u32 dev);
u32 rdaxfs_new_encode_dev(dev_t dev);

/* linux/highmem.h */
void rdaxfs_memcpy_from_folio(char *to, struct folio *folio, size_t offset, size_t len);
void rdaxfs_memcpy_to_folio(struct folio *folio, size_t offset, const char *from, size_t len);

/* linux/list.h */
void rdaxfs_list_del_init(struct list_head *entry);

/* linux/lockdep.h */
void rdaxfs_rwsem_set_subclass(struct rw_semaphore *sem, unsigned int subclass);

/* linux/mm.h */
bool rdaxfs_folio_maybe_dma_pinned(struct folio *folio);
size_t rdaxfs_offset_in_folio(struct folio *folio, loff_t pos);
bool rdaxfs_vma_desc_is_sync(const struct vm_area_desc *desc);
void rdaxfs_vma_desc_set_dax(struct vm_area_desc *desc);
void rdaxfs_vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear);

/* linux/moduleparam.h: set before the module's init function is called, and constant from then on */
extern char *rdaxfs_fstype;
extern char *rdaxfs_dax_switch;

/* linux/mount.h, the rest of which is in kernel::bindings in part */
int mnt_want_write_file(struct file *file);
void mnt_drop_write_file(struct file *file);

/* linux/pagemap.h */
bool rdaxfs_mapping_empty(struct address_space *mapping);
void rdaxfs_mapping_set_folio_order_range(struct address_space *mapping, unsigned int min, unsigned int max);

/* linux/posix_acl.h */
void rdaxfs_cache_no_acl(struct inode *inode);
int rdaxfs_posix_acl_chmod(struct mnt_idmap *idmap, struct dentry *dentry, umode_t mode);
int rdaxfs_posix_acl_create(struct inode *dir, umode_t *mode, struct posix_acl **default_acl,
			    struct posix_acl **acl);
void rdaxfs_posix_acl_get(struct posix_acl *acl);
void rdaxfs_posix_acl_release(struct posix_acl *acl);
int rdaxfs_posix_acl_update_mode(struct mnt_idmap *idmap, struct inode *inode, umode_t *mode,
				 struct posix_acl **acl);
void rdaxfs_set_cached_acl(struct inode *inode, int type, struct posix_acl *acl);

/* linux/posix_acl_xattr.h */
struct posix_acl *rdaxfs_posix_acl_from_xattr(const void *value, size_t size);
void *rdaxfs_posix_acl_to_xattr(const struct posix_acl *acl, size_t *size);

/* linux/printk.h */
bool rdaxfs_printk_ratelimit(void);

/* linux/rcupdate.h */
void rdaxfs_synchronize_rcu_tasks(void);

/* linux/rwsem.h */
void rdaxfs_up_read_rcu(struct rw_semaphore *sem);

/* linux/sched/mm.h */
void rdaxfs_memalloc_nofs_restore(unsigned int flags);
unsigned int rdaxfs_memalloc_nofs_save(void);
void rdaxfs_memalloc_retry_wait(void);

/* linux/security.h */
int rdaxfs_security_inode_init_security(struct inode *inode, struct inode *dir,
					const struct qstr *name, initxattrs initxattrs, void *fs_data);

/* linux/slab.h */
slab_flags_t rdaxfs_inode_slab_flags(void);

/* linux/workqueue.h */
struct workqueue_struct *rdaxfs_alloc_workqueue(const char *id);
void rdaxfs_init_work(struct work_struct *work, work_func_t func);
bool rdaxfs_queue_work(struct workqueue_struct *wq, struct work_struct *work);

#endif
