// SPDX-License-Identifier: GPL-2.0
//! Reading and writing by every system call there is, on the page cache and on DAX.

use super::{is_dax, pattern, read_at, refused, same_bytes};
use crate::harness::{Bed, Test, ALL, BOTH};
use crate::sys::{self, attrs, Aligned, PAGE};
use anyhow::{ensure, Context, Result};
use rustix::fs::{self, Advice, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::pipe::{self, SpliceFlags};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("data::as_mounted", ALL, as_mounted),
        Test::new("data::every_offset", ALL, every_offset),
        Test::new("data::against_a_model", ALL, against_a_model),
        Test::new("data::vectors", BOTH, vectors),
        Test::new("data::direct", ALL, direct),
        Test::new("data::direct_and_buffered", ALL, direct_and_buffered),
        Test::new("data::direct_unaligned", BOTH, direct_unaligned),
        Test::new("data::append", BOTH, append),
        Test::new("data::append_together", ALL, append_together),
        Test::new("data::synchronous_flags", ALL, synchronous_flags),
        Test::new("data::rwf_flags", BOTH, rwf_flags),
        Test::new("data::reaches_the_device", ALL, reaches_the_device),
        Test::new("data::splice", ALL, splice),
        Test::new("data::sendfile", BOTH, sendfile),
        Test::new("data::copy_file_range", BOTH, copy_file_range),
        Test::new("data::fadvise", ALL, fadvise),
        Test::new("data::drop_caches", ALL, drop_caches),
        Test::new("data::readers_and_writers", ALL, readers_and_writers),
        Test::new("data::descriptor_modes", BOTH, descriptor_modes),
    ]
}

/// Guards the other tests: what they exercise is what their name says.
fn as_mounted(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    ensure!(is_dax(&file)? == bed.place.is_dax(), "DAX is {}", is_dax(&file)?);
    drop(file);
    bed.again()?;
    ensure!(is_dax(&bed.open("file")?)? == bed.place.is_dax(), "after mounting again");
    Ok(())
}

fn every_offset(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    let mut model = Vec::new();
    for (n, len) in
        [1, 7, 511, 512, 513, 4095, 4096, 4097, 8191, 65_536, 65_537, 1].into_iter().enumerate()
    {
        let bytes = pattern(n as u64, 0, len);
        file.write_all_at(&bytes, model.len() as u64)?;
        model.extend(bytes);
    }
    for at in [0, 1, 4095, 4096, 4097, 70_000] {
        for len in [0, 1, 4095, 4096, 4097, 30_000] {
            same_bytes(&read_at(&file, at as u64, len)?, &model[at..at + len], "a read")?;
        }
    }
    ensure!(file.read_at(&mut [0; 10], model.len() as u64)? == 0, "a read at the end");
    let short = file.read_at(&mut [0; 100], model.len() as u64 - 3)?;
    ensure!(short == 3, "{short} bytes before the end");
    drop(file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &model, "mounted again")
}

fn against_a_model(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    let mut model = Vec::<u8>::new();
    let mut state = 42_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let rounds = bed.config.amount(1_500, 300, 120);
    for round in 0..rounds {
        let (at, len) = (next(600_000), next(50_000) + 1);
        match next(10) {
            0 => {
                file.set_len(at as u64)?;
                model.resize(at, 0);
            }
            1 => fs::fdatasync(&file)?,
            2..=5 => {
                file.write_all_at(&pattern(round, 0, len), at as u64)?;
                model.resize(model.len().max(at + len), 0);
                model[at..at + len].copy_from_slice(&pattern(round, 0, len));
            }
            _ => {
                let end = (at + len).min(model.len());
                let start = at.min(end);
                let found = read_at(&file, start as u64, end - start)?;
                same_bytes(&found, &model[start..end], &format!("round {round}"))?;
            }
        }
    }
    drop(file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &model, "at the end")
}

fn vectors(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    let parts: Vec<Vec<u8>> = [3, 5000, 1, 4096, 12].map(|len| pattern(len as u64, 0, len)).into();
    let slices: Vec<IoSlice> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let whole = parts.concat();
    let len = rustix::io::pwritev(&file, &slices, 100)?;
    ensure!(len == whole.len(), "pwritev wrote {len}");
    let (mut a, mut b) = (vec![0; 4000], vec![0; whole.len() - 4000]);
    let mut into = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    ensure!(rustix::io::preadv(&file, &mut into, 100)? == whole.len());
    same_bytes(&[a, b].concat(), &whole, "preadv")
}

fn open_direct(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true);
    options.custom_flags(OFlags::DIRECT.bits() as i32).open(path)
}

fn direct(bed: &mut Bed) -> Result<()> {
    let file = open_direct(&bed.path("file")).context("O_DIRECT")?;
    let data = Aligned::of(&pattern(1, 0, 1 << 20));
    file.write_all_at(&data, 0)?;
    let mut back = Aligned::new(1 << 20, 0);
    file.read_exact_at(&mut back, 0)?;
    same_bytes(&back, &data, "the first megabyte")?;
    // Into a hole, over old bytes, beyond the end.
    for at in [8 << 20, 4096, 1 << 20, 3 << 20] {
        file.write_all_at(&data[..65_536], at)?;
        file.read_exact_at(&mut back[..65_536], at)?;
        same_bytes(&back[..65_536], &data[..65_536], &format!("at {at}"))?;
    }
    file.read_exact_at(&mut back, 5 << 20)?;
    same_bytes(&back, &vec![0; 1 << 20], "a hole")?;
    let end = file.metadata()?.len();
    ensure!(file.read_at(&mut back, end)? == 0, "direct read at the end");
    ensure!(file.read_at(&mut back, end - 4096)? == 4096, "direct read over the end");
    drop(file);
    bed.again()?;
    let found = read_at(&bed.open("file")?, 0, 4096)?;
    same_bytes(&found, &data[..4096], "mounted again")
}

/// Each sees what the other wrote, at once.
fn direct_and_buffered(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    let (direct, plain) = (open_direct(&path)?, bed.open("file")?);
    let mut back = Aligned::new(65_536, 0);
    for round in 0..40 {
        let (one, two) = (Aligned::of(&pattern(round, 0, 65_536)), pattern(round + 100, 0, 20_000));
        let at = round % 5 * 32_768;
        direct.write_all_at(&one, at)?;
        same_bytes(&read_at(&plain, at, 65_536)?, &one, "buffered after direct")?;
        plain.write_all_at(&two, at + 10_000)?;
        direct.read_exact_at(&mut back, at)?;
        same_bytes(&back[10_000..30_000], &two, "direct after buffered")?;
        same_bytes(&back[..10_000], &one[..10_000], "around it")?;
    }
    Ok(())
}

fn direct_unaligned(bed: &mut Bed) -> Result<()> {
    let file = open_direct(&bed.path("file"))?;
    let data = Aligned::of(&pattern(1, 0, 8192));
    file.write_all_at(&data, 0)?;
    let written = file.write_at(&data[..100], 1);
    if bed.place.is_dax() {
        // DAX copies: no alignment is asked for.
        ensure!(written? == 100, "an unaligned write on DAX");
        return same_bytes(&read_at(&file, 1, 100)?, &data[..100], "unaligned on DAX");
    }
    refused(written, Errno::INVAL, "an unaligned direct write")
}

fn append(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    std::fs::write(&path, "start ")?;
    let mut file = File::options().append(true).read(true).open(&path)?;
    file.write_all(b"one ")?;
    file.seek(std::io::SeekFrom::Start(0))?;
    file.write_all(b"two ")?;
    // Linux appends even when an offset is given.
    file.write_all_at(b"three", 0)?;
    ensure!(std::fs::read(&path)? == b"start one two three");
    Ok(())
}

/// Two processes append records to one file: all of them are there, none torn.
fn append_together(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    File::create(&path)?;
    let count = if bed.config.short { 300 } else { 2_000 };
    let append = |who: u64| {
        let mut file = File::options().append(true).open(&path)?;
        for n in 0..count {
            file.write_all(&record(who, n))?;
        }
        Ok::<_, std::io::Error>(())
    };
    let children: Vec<_> = (0..3)
        .map(|who| sys::Child::start(|| append(who).is_err().into()))
        .collect::<Result<_, _>>()?;
    for child in children {
        ensure!(child.wait()? == sys::End::Exit(0), "a writer failed");
    }
    let mut next = [0; 3];
    for bytes in std::fs::read(&path)?.chunks(RECORD) {
        let who = (0..3).find(|who| bytes == record(*who as u64, next[*who]));
        next[who.context("a torn record or one out of order")?] += 1;
    }
    ensure!(next == [count; 3], "records {next:?}");
    Ok(())
}

const RECORD: usize = 333;

fn record(who: u64, n: u64) -> Vec<u8> {
    pattern(who + 1, n * 512, RECORD)
}

fn synchronous_flags(bed: &mut Bed) -> Result<()> {
    for (name, flag) in [("sync", OFlags::SYNC), ("dsync", OFlags::DSYNC)] {
        let mut options = File::options();
        options.read(true).write(true).create(true).custom_flags(flag.bits() as i32);
        let file = options.open(bed.path(name))?;
        for n in 0..50 {
            file.write_all_at(&pattern(n, 0, 5_000), n * 5_000)?;
        }
        on_device(bed, &file, 49 * 5_000, &pattern(49, 0, 5_000), name)?;
    }
    let file = bed.create("calls")?;
    file.write_all_at(&pattern(80, 0, 100_000), 0)?;
    fs::fsync(&file).context("fsync")?;
    fs::fdatasync(&file).context("fdatasync")?;
    sys::sync_file_range(&file, 0, 50_000).context("sync_file_range")?;
    fs::syncfs(&file).context("syncfs")?;
    fs::sync();
    fs::fsync(File::open(bed.dir())?).context("fsync of a directory")?;
    Ok(())
}

/// Fails unless `bytes`, which byte `at` of the file begins, are on the device where the file has its place for them.
fn on_device(bed: &Bed, file: &File, at: u64, bytes: &[u8], what: &str) -> Result<()> {
    let mut options = File::options();
    let direct = OFlags::DIRECT.bits() as i32;
    let device = options.read(true).custom_flags(direct).open(bed.image.device())?;
    let mut block = Aligned::new(PAGE, 0);
    let (mut at, mut left) = (at, bytes);
    while !left.is_empty() {
        let skip = at as usize % PAGE;
        let (here, rest) = left.split_at(left.len().min(PAGE - skip));
        let place = attrs::place_of_byte(file, at - skip as u64)?;
        let place = place.with_context(|| format!("{what}: byte {at} has no place"))?;
        ensure!(device.read_at(&mut block, place)? == PAGE, "{what}: byte {place} of the device");
        same_bytes(&block[skip..skip + here.len()], here, &format!("{what}: on the device"))?;
        (at, left) = (at + here.len() as u64, rest);
    }
    Ok(())
}

/// After fsync, and after a write with O_DSYNC, the bytes are on the device and not only cached.
fn reaches_the_device(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    for (round, sync) in [fs::fsync::<&File>, fs::fdatasync::<&File>].into_iter().enumerate() {
        let bytes = pattern(200 + round as u64, 0, 10_000);
        file.write_all_at(&bytes, 0)?;
        sync(&file)?;
        on_device(bed, &file, 0, &bytes, ["fsync", "fdatasync"][round])?;
    }
    let bytes = pattern(300, 0, 10_000);
    file.write_all_at(&bytes, 0)?;
    sys::sync_file_range(&file, 0, 10_000)?;
    on_device(bed, &file, 0, &bytes, "sync_file_range")?;
    let map = sys::Mapping::shared(&file, 8192)?;
    let bytes = pattern(301, 0, 8192);
    map.write(0, &bytes);
    map.sync(rustix::mm::MsyncFlags::SYNC)?;
    on_device(bed, &file, 0, &bytes, "msync")
}

fn rwf_flags(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    let write = |bytes: &[u8], at: u64, flags: ReadWriteFlags| {
        rustix::io::pwritev2(&file, &[IoSlice::new(bytes)], at, flags)
    };
    for flags in [ReadWriteFlags::DSYNC, ReadWriteFlags::SYNC, ReadWriteFlags::HIPRI] {
        let bytes = pattern(flags.bits().into(), 0, 9_000);
        ensure!(write(&bytes, 100, flags).with_context(|| format!("{flags:?}"))? == 9_000);
        same_bytes(&read_at(&file, 100, 9_000)?, &bytes, "after such a write")?;
    }
    let len = file.metadata()?.len();
    ensure!(write(b"appended", 0, ReadWriteFlags::APPEND)? == 8);
    same_bytes(&read_at(&file, len, 8)?, b"appended", "RWF_APPEND")?;
    let noappend = ReadWriteFlags::from_bits_retain(0x20);
    let appending = File::options().append(true).open(bed.path("file"))?;
    let there = rustix::io::pwritev2(&appending, &[IoSlice::new(b"there")], 5, noappend);
    ensure!(there.context("RWF_NOAPPEND")? == 5);
    same_bytes(&read_at(&file, 5, 5)?, b"there", "RWF_NOAPPEND")?;
    let odd = ReadWriteFlags::from_bits_retain(1 << 20);
    refused(write(b"x", 0, odd), Errno::OPNOTSUPP, "an unknown flag")?;
    let mut bytes = [0; 4096];
    let nowait = ReadWriteFlags::NOWAIT;
    // The page is cached, or the file is DAX: nothing to wait for; or the flag is refused as a whole.
    match rustix::io::preadv2(&file, &mut [IoSliceMut::new(&mut bytes)], 0, nowait) {
        Ok(len) => ensure!(len == 4096, "RWF_NOWAIT read {len}"),
        Err(error) => ensure!(error == Errno::OPNOTSUPP || error == Errno::AGAIN, "{error}"),
    }
    match write(b"now", 0, nowait) {
        Ok(len) => ensure!(len == 3, "RWF_NOWAIT wrote {len}"),
        // The last is what generic_write_checks says of a buffered write without FMODE_CAN_NOWAIT.
        Err(Errno::OPNOTSUPP | Errno::AGAIN | Errno::INVAL) => {}
        Err(error) => ensure!(false, "RWF_NOWAIT: {error}"),
    }
    Ok(())
}

fn splice(bed: &mut Bed) -> Result<()> {
    let data = pattern(1, 0, 300_000);
    std::fs::write(bed.path("from"), &data)?;
    let (from, to) = (bed.open("from")?, bed.create("to")?);
    let (reader, writer) = pipe::pipe()?;
    let (mut read_at_byte, mut write_at_byte) = (0, 0);
    while write_at_byte < 300_000 {
        let none = SpliceFlags::empty();
        let len = pipe::splice(&from, Some(&mut read_at_byte), &writer, None, 50_000, none)?;
        ensure!(len > 0, "splice from the file ended early");
        let mut left = len;
        while left > 0 {
            left -= pipe::splice(&reader, None, &to, Some(&mut write_at_byte), left, none)?;
        }
    }
    same_bytes(&std::fs::read(bed.path("to"))?, &data, "spliced")?;
    // Bytes in a pipe are those of the time of the splice or of now, never of another file.
    pipe::splice(&from, Some(&mut 0), &writer, None, 4096, SpliceFlags::empty())?;
    drop(from);
    std::fs::remove_file(bed.path("from"))?;
    std::fs::write(bed.path("other"), pattern(9, 0, 300_000))?;
    let mut found = vec![0; 4096];
    File::from(reader).read_exact(&mut found)?;
    same_bytes(&found, &data[..4096], "in the pipe")
}

fn sendfile(bed: &mut Bed) -> Result<()> {
    let data = pattern(2, 0, 200_001);
    std::fs::write(bed.path("from"), &data)?;
    let (from, to) = (bed.open("from")?, bed.create("to")?);
    let mut at = 0;
    while at < 200_001 {
        let len = fs::sendfile(&to, &from, Some(&mut at), 200_001)?;
        ensure!(len > 0, "sendfile ended early");
    }
    same_bytes(&std::fs::read(bed.path("to"))?, &data, "sent")
}

fn copy_file_range(bed: &mut Bed) -> Result<()> {
    let data = pattern(3, 0, 150_000);
    std::fs::write(bed.path("from"), &data)?;
    let (from, to) = (bed.open("from")?, bed.create("to")?);
    let (mut at, mut there) = (10, 20);
    while at < 150_000 {
        let len = fs::copy_file_range(&from, Some(&mut at), &to, Some(&mut there), 150_000)?;
        ensure!(len > 0, "copy_file_range ended early");
    }
    same_bytes(&read_at(&to, 20, 149_990)?, &data[10..], "copied")
}

fn fadvise(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    let data = pattern(4, 0, 2 << 20);
    file.write_all_at(&data, 0)?;
    let all = [
        Advice::Normal,
        Advice::Sequential,
        Advice::Random,
        Advice::WillNeed,
        Advice::DontNeed,
        Advice::NoReuse,
    ];
    for advice in all {
        fs::fadvise(&file, 0, None, advice).with_context(|| format!("{advice:?}"))?;
        same_bytes(&read_at(&file, 0, 2 << 20)?, &data, &format!("after {advice:?}"))?;
    }
    Ok(())
}

fn drop_caches(bed: &mut Bed) -> Result<()> {
    for n in 0..30 {
        let file = bed.create(&format!("file-{n}"))?;
        file.write_all_at(&pattern(n, 0, 50_000), 0)?;
        if n % 2 == 0 {
            file.sync_all()?;
        }
    }
    for round in ["1", "2", "3"] {
        std::fs::write("/proc/sys/vm/drop_caches", round)?;
        for n in 0..30 {
            let found = std::fs::read(bed.path(format!("file-{n}")))?;
            same_bytes(&found, &pattern(n, 0, 50_000), &format!("file-{n}"))?;
        }
    }
    Ok(())
}

/// Writers of disjoint parts and readers of all of it, at once: a reader sees a piece old or new.
fn readers_and_writers(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    let rounds = if bed.config.short { 30 } else { 200 };
    const PIECE: usize = 4096;
    file.set_len(64 * PIECE as u64)?;
    let bad = std::thread::scope(|scope| {
        let (file, mut threads) = (&file, Vec::new());
        for who in 0..2_u64 {
            threads.push(scope.spawn(move || {
                for round in 1..=rounds {
                    for piece in (who..64).step_by(2) {
                        let bytes = [round as u8; PIECE];
                        file.write_all_at(&bytes, piece * PIECE as u64)
                            .map_err(|e| e.to_string())?;
                    }
                }
                Ok(())
            }));
        }
        threads.push(scope.spawn(move || {
            let mut bytes = vec![0; PIECE];
            let mut last = [0; 64];
            for turn in 0..rounds as usize * 64 {
                let piece = turn * 31 % 64;
                file.read_exact_at(&mut bytes, (piece * PIECE) as u64)
                    .map_err(|e| e.to_string())?;
                if bytes[0] < last[piece] {
                    return Err(format!("piece {piece} went back to {}", bytes[0]));
                }
                last[piece] = bytes[0];
            }
            Ok(())
        }));
        threads.into_iter().map(|t| t.join()).find_map(|r| r.ok().and_then(Result::err))
    });
    if let Some(reason) = bad {
        anyhow::bail!(reason);
    }
    let expected = vec![rounds as u8; 64 * PIECE];
    same_bytes(&read_at(&file, 0, 64 * PIECE)?, &expected, "at the end")
}

fn descriptor_modes(bed: &mut Bed) -> Result<()> {
    std::fs::write(bed.path("file"), "text")?;
    let reader = File::open(bed.path("file"))?;
    refused((&reader).write(b"x"), Errno::BADF, "a write through a descriptor for reading")?;
    let writer = File::options().write(true).open(bed.path("file"))?;
    refused((&writer).read(&mut [0; 1]), Errno::BADF, "a read through one for writing")?;
    refused(File::open(bed.dir())?.read(&mut [0; 1]), Errno::ISDIR, "a read of a directory")?;
    let path = fs::open(bed.path("file"), OFlags::PATH, Mode::empty())?;
    refused(rustix::io::read(&path, &mut [0; 1]), Errno::BADF, "a read through O_PATH")?;
    let text = std::fs::read(bed.path("file"))?;
    ensure!(text == b"text");
    Ok(())
}
