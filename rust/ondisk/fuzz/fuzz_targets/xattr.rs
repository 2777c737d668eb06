// SPDX-License-Identifier: GPL-2.0

//! A block or an inode's own area of extended attributes of any bytes: whatever is accepted can be
//! written anew with an attribute added, and again with it removed.
//!
//! A host program. An `expect` is what must hold: libFuzzer reports the panic, and that is the finding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::{
    acl,
    xattr::{
        rewrite,
        Area,
        Entry,
        Header,
        Name,
        Writer, //
    },
    Error, //
};
use ondisk_fuzz::*;

/// Room enough for what takes no more than the values of an area, shared or not.
const ROOM: usize = 1 << 16;

fn writer(in_block: bool, bytes: &mut [u8]) -> Result<Writer<'_>, Error> {
    if in_block {
        Writer::in_block(bytes)
    } else {
        Writer::in_inode(bytes)
    }
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let Some([kind, name_len, value_len]) = take(&mut data) else {
        return;
    };
    let nr = geometry().block(77).expect("the block is there");
    let ea_inode = kind & 2 != 0;
    let in_block = kind & 1 != 0;
    let old = if in_block {
        Area::in_block(Some(CSUM), ea_inode, nr, data).map(Some)
    } else {
        Area::in_inode(ea_inode, data)
    };
    let Ok(old) = old else { return };
    for entry in old.into_iter().flat_map(Area::entries) {
        let name = Name::new(entry.name.index(), entry.name.suffix()).expect("as it was read");
        assert!(old.and_then(|area| area.find(name)).is_some());
    }

    let suffix = vec![b'n'; name_len.into()];
    let name = Name::new(1, &suffix).expect("short enough");
    let value = vec![b'v'; usize::from(value_len) * 3];
    let mut with = vec![0; ROOM];
    let added = rewrite(
        old,
        writer(in_block, &mut with).expect("there is room"),
        name,
        Some(Entry::new(name, &value)),
    );
    match added {
        // Values that are shared, or lie beyond the reach of an offset, do not fit.
        Err(Error::Full) => return,
        added => assert_eq!(added, Ok(true)),
    }
    let area = if in_block {
        let header = Header::decode(Some(CSUM), nr, &with).expect("a header");
        assert_eq!(header.refcount(), 1);
        Area::in_block(Some(CSUM), ea_inode, nr, &with)
    } else {
        Area::in_inode(ea_inode, &with).map(|area| area.expect("one at least"))
    }
    .expect("as it was written");
    let found = area.find(name).expect("as it was written");
    assert_eq!(found.value, Entry::new(name, &value).value);
    let others = |area: Area<'_>| area.entries().filter(|e| e.name != name).count();
    assert_eq!(others(area), old.map_or(0, others));

    let mut without = vec![0; ROOM];
    let left = rewrite(
        Some(area),
        writer(in_block, &mut without).expect("there is room"),
        name,
        None,
    );
    assert_eq!(left, Ok(others(area) > 0));

    let mut xattr = Vec::new();
    let mut put = |bytes: &[u8]| -> Result<(), Error> {
        xattr.extend_from_slice(bytes);
        Ok(())
    };
    if acl::to_xattr(data, &mut put).is_ok() {
        let mut disk = Vec::new();
        acl::to_disk::<Error>(&xattr, |bytes| {
            disk.extend_from_slice(bytes);
            Ok(())
        })
        .expect("as it was written");
        assert_eq!(disk, data);
    }
});
