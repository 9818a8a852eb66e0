//! The desk's thread over a store that stands still: who gives it work goes on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use whist_netdoc::Parameters;
use whist_packet::request::{ReplyBody, Request};
use whist_provider::Command;
use whist_provider::clerk::{Clerk, Done, Job, Outcome};
use whist_provider::desk::{Moment, Rules};
use whist_provider::desk_thread::DeskThread;
use whist_provider::store::{
    Batch, Cursor, Day, Key, Memory, Owner, Scanned, Store, StoreFault, Table,
};
use whist_rt::{Commands, Shutdown, block_on, commands, time};
use whist_types::{MailboxAddress, Wall};

/// Only there so that a hang ends.
const LIMIT: Duration = Duration::from_secs(120);

/// Who operates the store waits here until it is opened; whoever must not wait is noted instead.
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    /// The thread that keeps the clocks.
    keeper: ThreadId,
    by_keeper: Mutex<u32>,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::new(true),
            opened: Condvar::new(),
            keeper: thread::current().id(),
            by_keeper: Mutex::new(0),
        })
    }

    fn set(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.opened.notify_all();
    }

    fn pass(&self) {
        if thread::current().id() == self.keeper {
            *self.by_keeper.lock().unwrap() += 1;
            return;
        }
        let guard = self.open.lock().unwrap();
        drop(self.opened.wait_while(guard, |open| !*open).unwrap());
    }
}

/// A store that waits at the gate; the flag says that a write has failed for good.
struct Still(Memory, Arc<Gate>, Arc<AtomicBool>);

impl Still {
    fn disk(&self) -> Memory {
        self.1.pass();
        self.0.clone()
    }
}

impl Store for Still {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreFault> {
        self.disk().get(key)
    }
    fn scan(&self, day: Day, table: Table, owner: Owner) -> Result<Vec<Scanned>, StoreFault> {
        self.disk().scan(day, table, owner)
    }
    fn count(&self, table: Table) -> Result<u64, StoreFault> {
        self.disk().count(table)
    }
    fn apply(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        self.disk().apply(batch)
    }
    fn is_ended(&self) -> bool {
        self.2.load(Ordering::SeqCst)
    }
    fn days(&self) -> Vec<Day> {
        self.disk().days()
    }
    fn begin(&mut self, day: Day) -> Result<(), StoreFault> {
        self.disk().begin(day)
    }
    fn end(&mut self, day: Day) -> Result<bool, StoreFault> {
        self.disk().end(day)
    }
    fn clear(
        &mut self,
        day: Day,
        table: Table,
        from: &Cursor,
        most: usize,
    ) -> Result<Option<Cursor>, StoreFault> {
        self.disk().clear(day, table, from, most)
    }
}

async fn outcome(done: &mut Commands<Command>) -> Outcome {
    match time::timeout(LIMIT, done.recv()).await.unwrap().unwrap() {
        Command::Desk(Done { outcome, .. }) => outcome,
        other => panic!("{other:?}"),
    }
}

fn put(number: u64, at: Moment) -> Job {
    let request = Request::Put {
        address: MailboxAddress::from_bytes([number as u8; 32]),
        item: Box::new([1; 1536]),
    };
    Job::Serve {
        number,
        at,
        request,
    }
}

struct Rig {
    gate: Arc<Gate>,
    broken: Arc<AtomicBool>,
    desk: DeskThread,
    done: Commands<Command>,
    stop: Shutdown,
    at: Moment,
}

/// A desk that has begun its day.
async fn rig(sync: impl Fn() -> Result<(), StoreFault> + Clone + Send + 'static) -> Rig {
    let gate = Gate::new();
    let broken = Arc::new(AtomicBool::new(false));
    let store = Still(Memory::new(), gate.clone(), broken.clone());
    let clerk = Clerk::new(store, 100, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    *gate.by_keeper.lock().unwrap() = 0;
    let (handle, mut done) = commands();
    let stop = Shutdown::new();
    let waits = gate.clone();
    let sync = move || {
        waits.pass();
        sync()
    };
    let desk = DeskThread::start(clerk, sync, handle, stop.clone());
    let at = Moment {
        wall: Wall::from_secs(2_000_000_000),
        ..Moment::default()
    };
    let rules = Rules::new(&Parameters::default(), 100);
    desk.give(Job::Turn { at, rules });
    assert!(outcome(&mut done).await == Outcome::Turned);
    Rig {
        gate,
        broken,
        desk,
        done,
        stop,
        at,
    }
}

#[test]
fn who_keeps_the_clocks_never_waits_for_a_store_that_stands_still() {
    block_on(async {
        let mut rig = rig(|| Ok(())).await;
        rig.gate.set(false);
        for number in 0..40 {
            // Returns, or this test would never end.
            rig.desk.give(put(number, rig.at));
        }
        assert_eq!(*rig.gate.by_keeper.lock().unwrap(), 0, "work in the loop");
        rig.gate.set(true);
        for expected in 0..40 {
            let Outcome::Answer { number, body } = outcome(&mut rig.done).await else {
                panic!("no answer");
            };
            assert_eq!((number, body), (expected, ReplyBody::Stored));
        }
        assert_eq!(*rig.gate.by_keeper.lock().unwrap(), 0);
        assert!(!rig.stop.is_triggered());
    })
    .unwrap();
}

#[test]
fn a_store_that_takes_no_more_writes_ends_the_process_before_anything_is_answered() {
    block_on(async {
        let mut rig = rig(|| Ok(())).await;
        rig.broken.store(true, Ordering::SeqCst);
        rig.desk.give(put(1, rig.at));
        time::timeout(LIMIT, rig.stop.triggered()).await.unwrap();
        assert!(rig.stop.outcome().is_err());
        drop(rig.desk);
        let told = time::timeout(LIMIT, rig.done.recv()).await.unwrap();
        assert!(told.is_none(), "{told:?}");
    })
    .unwrap();
}

#[test]
fn a_sync_that_fails_ends_the_process_and_nothing_is_called_stored() {
    block_on(async {
        let mut rig = rig(|| Err(StoreFault::Disk("made to fail".to_owned()))).await;
        rig.desk.give(put(1, rig.at));
        time::timeout(LIMIT, rig.stop.triggered()).await.unwrap();
        assert!(rig.stop.outcome().is_err());
        drop(rig.desk);
        while let Some(told) = time::timeout(LIMIT, rig.done.recv()).await.unwrap() {
            let Command::Desk(Done { outcome, .. }) = told else {
                panic!("{told:?}");
            };
            let stored = Outcome::Answer {
                number: 1,
                body: ReplyBody::Stored,
            };
            assert!(outcome != stored);
        }
    })
    .unwrap();
}

#[test]
fn the_thread_ends_with_its_owner() {
    block_on(async {
        let mut rig = rig(|| Ok(())).await;
        drop(rig.desk);
        let ended = time::timeout(LIMIT, rig.done.recv()).await.unwrap();
        assert!(ended.is_none());
    })
    .unwrap();
}
