// SPDX-License-Identifier: GPL-2.0

//! `e_name_index`: the prefixes of names that are not stored.

/// `user.`
pub const USER: u8 = 1;
/// `system.posix_acl_access`, all of it.
pub const POSIX_ACL_ACCESS: u8 = 2;
/// `system.posix_acl_default`, all of it.
pub const POSIX_ACL_DEFAULT: u8 = 3;
/// `trusted.`
pub const TRUSTED: u8 = 4;
/// `security.`
pub const SECURITY: u8 = 6;
