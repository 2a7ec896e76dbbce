//! The kernel's own file systems. In an initramfs nothing is mounted, not even devtmpfs, so there is no `/dev/nsm` before.
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;

struct Mount {
    place: &'static str,
    kind: &'static str,
    flags: MountFlags,
}

const CLOSED: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);

/// Nothing is written to `/proc` and `/sys`, and there is no `/tmp`: this program writes no file.
const MOUNTS: [Mount; 3] = [
    Mount { place: "/dev", kind: "devtmpfs", flags: CLOSED },
    Mount { place: "/proc", kind: "proc", flags: CLOSED.union(MountFlags::NODEV).union(MountFlags::RDONLY) },
    Mount { place: "/sys", kind: "sysfs", flags: CLOSED.union(MountFlags::NODEV).union(MountFlags::RDONLY) },
];

pub(super) fn mount_all() -> Result<(), String> {
    MOUNTS.iter().try_for_each(mount_one)
}

fn mount_one(Mount { place, kind, flags }: &Mount) -> Result<(), String> {
    if !fs::exists(place).unwrap_or(false) {
        let made = DirBuilder::new().mode(0o755).create(place);
        made.map_err(|error| format!("cannot make {place}: {error}"))?;
    }
    match mount(*kind, *place, *kind, *flags, None) {
        // Somebody mounted it already: the kernel, with CONFIG_DEVTMPFS_MOUNT.
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(error) => {
            Err(format!("cannot mount {kind} on {place}: {error}; the image's kernel must have this file system"))
        }
    }
}
