// SPDX-License-Identifier: GPL-2.0
/*
 * Functions for what Rust cannot call: inline functions and macros. Nothing else belongs
 * here; the contract of each shim is that of the C function or macro it stands for.
 */
#include "shims.h"

/* linux/buffer_head.h */

void rdaxfs_brelse(struct buffer_head *bh)
{
	brelse(bh);
}

struct buffer_head *rdaxfs_sb_bread(struct super_block *sb, sector_t block)
{
	return sb_bread(sb, block);
}
