/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Prototypes of the shims in shims.c, for bindgen and for the C compiler.
 * One section per kernel header, sorted; shims are named rdaxfs_ and the C name.
 */
#ifndef RDAXFS_SHIMS_H
#define RDAXFS_SHIMS_H

#include <linux/buffer_head.h>

/* linux/buffer_head.h */
void rdaxfs_brelse(struct buffer_head *bh);
struct buffer_head *rdaxfs_sb_bread(struct super_block *sb, sector_t block);

#endif
