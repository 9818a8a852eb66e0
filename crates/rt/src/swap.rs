//! Whether what is in memory may end on a disk.

use std::path::Path;

use crate::RtError;

/// Whether the system may write memory of this process to a swap device: there is one, and no
/// `memory.swap.max = 0` (`MemorySwapMax=0` in systemd) keeps this process from it. What cannot be
/// read counts as a device.
pub fn reaches_memory() -> bool {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let active = read("/proc/swaps").is_none_or(|text| is_active(&text));
    active
        && !is_forbidden(read("/proc/self/cgroup").as_deref(), |group| {
            read(&format!("/sys/fs/cgroup{group}/memory.swap.max"))
        })
}

/// The same for a file on the tmpfs of this folder, which may be mounted with `noswap`.
///
/// # Errors
/// If the folder cannot be read.
pub fn reaches(folder: &Path) -> Result<bool, RtError> {
    let failed = |error| RtError::file("read", folder, error);
    let device = rustix::fs::stat(folder).map_err(failed)?.st_dev;
    let device = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Ok(reaches_memory() && !is_noswap(&mounts, &device))
}

/// `/proc/swaps` has a line for each device after the first one.
fn is_active(swaps: &str) -> bool {
    swaps.lines().skip(1).any(|line| !line.trim().is_empty())
}

/// Whether one of the groups above a process (cgroup v2: the line that begins with `0::`), or its
/// own, is kept from swapping.
fn is_forbidden(groups: Option<&str>, max_of: impl Fn(&str) -> Option<String>) -> bool {
    let own = groups.and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::")));
    let Some(own) = own else {
        return false;
    };
    Path::new(own)
        .ancestors()
        .filter_map(Path::to_str)
        .filter_map(max_of)
        .any(|max| max.trim() == "0")
}

/// Whether the mount of `device` (`major:minor`) is a `noswap` one (`proc_pid_mountinfo(5)`: the
/// third field, and the options of the file system at the end of the line).
fn is_noswap(mounts: &str, device: &str) -> bool {
    let mut of_device = mounts
        .lines()
        .filter(|line| line.split(' ').nth(2) == Some(device));
    let options = of_device.next().and_then(|line| line.rsplit(' ').next());
    options.is_some_and(|options| options.split(',').any(|option| option == "noswap"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_there_only_with_a_device() {
        let head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert!(!is_active(head) && !is_active(""));
        assert!(is_active(&format!(
            "{head}/dev/sda2 partition 1048572 0 -2\n"
        )));
    }

    #[test]
    fn a_group_that_may_not_swap_keeps_its_processes_in_memory() {
        let groups = Some("0::/system.slice/whist-mix.service\n");
        let of = |group: &'static str, max: &'static str| {
            is_forbidden(groups, |asked| (asked == group).then(|| max.to_owned()))
        };
        assert!(of("/system.slice/whist-mix.service", "0\n"));
        assert!(of("/system.slice", "0\n"));
        assert!(!of("/system.slice", "max\n") && !of("/user.slice", "0\n"));
        assert!(!is_forbidden(Some("1:memory:/a\n"), |_| Some(
            "0".to_owned()
        )));
        assert!(!is_forbidden(None, |_| Some("0".to_owned())));
    }

    #[test]
    fn a_tmpfs_is_known_by_its_device_and_its_noswap() {
        let mounts = "24 1 0:22 / / rw - ext4 /dev/vda rw\n\
                      30 24 0:27 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=9k,noswap\n\
                      31 24 0:28 / /dev/shm rw - tmpfs tmpfs rw,size=9k\n";
        assert!(is_noswap(mounts, "0:27"));
        assert!(!is_noswap(mounts, "0:28") && !is_noswap(mounts, "0:99") && !is_noswap("", "0:27"));
    }
}
