//! Which epochs count now, which consensus rules each, and when that changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use whist_netdoc::{Consensus, Follower};
use whist_types::{Epoch, EpochSchedule, Instant, Now, Wall};

use crate::limits;

/// The consensus that rules packets under the keys of `epoch`, if it is still valid.
pub fn ruling(follower: &Follower, wall: Wall, epoch: Epoch) -> Option<Arc<Consensus>> {
    let ruling = follower.ruling(epoch)?;
    (wall < ruling.valid_until()).then(|| ruling.clone())
}

/// What rules each epoch whose keys are accepted, and the epoch to come: its neighbours are dialled
/// before its keys are used.
pub fn rulings(follower: &Follower, wall: Wall) -> BTreeMap<Epoch, Arc<Consensus>> {
    let schedule = follower.trusted().schedule();
    let (likelier, other) = schedule.accepted(wall);
    [Some(likelier), other, Some(schedule.epoch_at(wall).next())]
        .into_iter()
        .flatten()
        .filter_map(|epoch| Some((epoch, ruling(follower, wall, epoch)?)))
        .collect()
}

/// When epochs or keys change next; no later than [`limits::WAKE_MAX`] from now.
pub fn next_boundary(schedule: &EpochSchedule, now: Now) -> Instant {
    let current = schedule.epoch_at(now.wall);
    let times = [
        schedule.key_until(current.previous()),
        schedule.key_from(current.next()),
        schedule.start(current.next()),
    ];
    let next = times.into_iter().filter(|time| *time > now.wall).min();
    let wake = now.instant.after(limits::WAKE_MAX);
    next.map_or(wake, |time| now.instant_of(time).min(wake))
}
