/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events, in tracefs under events/rdaxfs; rust/vfs/trace.rs has the functions that record
 * them, and says what they tell.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM rdaxfs

#if !defined(RDAXFS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define RDAXFS_TRACE_H

#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/mm.h>
#include <linux/tracepoint.h>

#define RDAXFS_PATH(dax) ((dax) ? "dax" : "page-cache")

/* In the order of enum Refusal in rust/vfs/trace.rs. */
#define RDAXFS_REFUSALS							\
	{ 0, "swap file" },						\
	{ 1, "writeback failed" },					\
	{ 2, "a fault is under way" },					\
	{ 3, "mapped" },						\
	{ 4, "pages in use" },						\
	{ 5, "flag not stored" }

DECLARE_EVENT_CLASS(rdaxfs_fault_class,
	TP_PROTO(struct inode *inode, struct vm_fault *vmf, unsigned int order, bool dax),
	TP_ARGS(inode, vmf, order, dax),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(unsigned long, pgoff)
		__field(unsigned long, address)
		__field(unsigned int, order)
		__field(unsigned int, flags)
		__field(bool, dax)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->pgoff = vmf->pgoff;
		__entry->address = vmf->address;
		__entry->order = order;
		__entry->flags = vmf->flags;
		__entry->dax = dax;
	),
	TP_printk("dev %d:%d ino %llu path %s order %u pgoff 0x%lx address 0x%lx flags %s",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino, RDAXFS_PATH(__entry->dax),
		  __entry->order, __entry->pgoff, __entry->address,
		  __print_flags(__entry->flags, "|", FAULT_FLAG_TRACE))
);

DEFINE_EVENT(rdaxfs_fault_class, rdaxfs_fault,
	TP_PROTO(struct inode *inode, struct vm_fault *vmf, unsigned int order, bool dax),
	TP_ARGS(inode, vmf, order, dax));
DEFINE_EVENT(rdaxfs_fault_class, rdaxfs_page_mkwrite,
	TP_PROTO(struct inode *inode, struct vm_fault *vmf, unsigned int order, bool dax),
	TP_ARGS(inode, vmf, order, dax));

DECLARE_EVENT_CLASS(rdaxfs_fault_done_class,
	TP_PROTO(struct inode *inode, unsigned long pgoff, unsigned int order, bool dax,
		 unsigned int result),
	TP_ARGS(inode, pgoff, order, dax, result),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(unsigned long, pgoff)
		__field(unsigned int, order)
		__field(unsigned int, result)
		__field(bool, dax)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->pgoff = pgoff;
		__entry->order = order;
		__entry->result = result;
		__entry->dax = dax;
	),
	TP_printk("dev %d:%d ino %llu path %s order %u pgoff 0x%lx result %s",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino, RDAXFS_PATH(__entry->dax),
		  __entry->order, __entry->pgoff,
		  __print_flags(__entry->result, "|", VM_FAULT_RESULT_TRACE))
);

DEFINE_EVENT(rdaxfs_fault_done_class, rdaxfs_fault_done,
	TP_PROTO(struct inode *inode, unsigned long pgoff, unsigned int order, bool dax,
		 unsigned int result),
	TP_ARGS(inode, pgoff, order, dax, result));
DEFINE_EVENT(rdaxfs_fault_done_class, rdaxfs_page_mkwrite_done,
	TP_PROTO(struct inode *inode, unsigned long pgoff, unsigned int order, bool dax,
		 unsigned int result),
	TP_ARGS(inode, pgoff, order, dax, result));

DECLARE_EVENT_CLASS(rdaxfs_mmap_class,
	TP_PROTO(struct inode *inode, unsigned long start, unsigned long end, bool dax),
	TP_ARGS(inode, start, end, dax),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(bool, dax)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->start = start;
		__entry->end = end;
		__entry->dax = dax;
	),
	TP_printk("dev %d:%d ino %llu path %s addresses 0x%lx-0x%lx",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino, RDAXFS_PATH(__entry->dax),
		  __entry->start, __entry->end)
);

DEFINE_EVENT(rdaxfs_mmap_class, rdaxfs_mmap,
	TP_PROTO(struct inode *inode, unsigned long start, unsigned long end, bool dax),
	TP_ARGS(inode, start, end, dax));
DEFINE_EVENT(rdaxfs_mmap_class, rdaxfs_mmap_refit,
	TP_PROTO(struct inode *inode, unsigned long start, unsigned long end, bool dax),
	TP_ARGS(inode, start, end, dax));

DECLARE_EVENT_CLASS(rdaxfs_switch_class,
	TP_PROTO(struct inode *inode, bool to_dax),
	TP_ARGS(inode, to_dax),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(bool, to_dax)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->to_dax = to_dax;
	),
	TP_printk("dev %d:%d ino %llu to %s",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  RDAXFS_PATH(__entry->to_dax))
);

DEFINE_EVENT(rdaxfs_switch_class, rdaxfs_switch,
	TP_PROTO(struct inode *inode, bool to_dax),
	TP_ARGS(inode, to_dax));
DEFINE_EVENT(rdaxfs_switch_class, rdaxfs_switch_done,
	TP_PROTO(struct inode *inode, bool to_dax),
	TP_ARGS(inode, to_dax));

TRACE_EVENT(rdaxfs_switch_refused,
	TP_PROTO(struct inode *inode, bool to_dax, unsigned int reason, int error),
	TP_ARGS(inode, to_dax, reason, error),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(unsigned int, reason)
		__field(int, error)
		__field(bool, to_dax)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->reason = reason;
		__entry->error = error;
		__entry->to_dax = to_dax;
	),
	TP_printk("dev %d:%d ino %llu to %s reason \"%s\" error %d",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  RDAXFS_PATH(__entry->to_dax), __print_symbolic(__entry->reason, RDAXFS_REFUSALS),
		  __entry->error)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE rdaxfs_trace
#include <trace/define_trace.h>
