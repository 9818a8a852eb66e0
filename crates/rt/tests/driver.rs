//! Two roles and real loopback sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::collections::VecDeque;
use std::time::Duration;

use whist_link::limits::HANDSHAKE;
use whist_link::{Frame, Input, LinkId, LinkIdentity, Output, Remote, Role, Target};
use whist_rt::raw::{TcpListener, TcpStream};
use whist_rt::sync::mpsc;
use whist_rt::task::JoinHandle;
use whist_rt::time::timeout;
use whist_rt::{
    Clock, Driver, DriverOptions, Handle, LinkMetrics, Listener, RtError, Shutdown, commands,
    limits,
};
use whist_types::{Instant, LinkKey, Now, Secret};

/// Only there so that a hang ends.
const LIMIT: Duration = Duration::from_secs(120);
/// Timers have a resolution of milliseconds.
const GRAIN: Duration = Duration::from_millis(100);

/// Does what it is told by commands and tells what happens to it by effects.
#[derive(Debug, Default)]
struct Probe {
    outputs: VecDeque<Output<Input<()>>>,
    echo: bool,
    timeout: Option<Instant>,
    frames: usize,
}

enum Order {
    Dial(LinkId, Target),
    Send(LinkId, Vec<Frame>),
    Close(LinkId),
    WakeIn(Duration),
    Panic,
}

impl Role for Probe {
    type Command = Order;
    type Effect = Input<()>;

    fn handle(&mut self, now: Now, input: Input<Order>) {
        let seen = match input {
            Input::Command(Order::Dial(link, target)) => {
                return self.outputs.push_back(Output::Dial { link, target });
            }
            Input::Command(Order::Send(link, frames)) => {
                let sends = frames.into_iter().map(|frame| Output::Send { link, frame });
                return self.outputs.extend(sends);
            }
            Input::Command(Order::Close(link)) => {
                return self.outputs.push_back(Output::Close { link });
            }
            Input::Command(Order::WakeIn(after)) => {
                self.timeout = Some(now.instant.after(after));
                return;
            }
            Input::Command(Order::Panic) => panic!("on purpose"),
            Input::Timeout => {
                assert!(self.timeout.take().is_some_and(|at| at <= now.instant));
                Input::Timeout
            }
            Input::Frame { link, frame } => {
                self.frames += 1;
                if self.echo {
                    let frame = frame.clone();
                    self.outputs.push_back(Output::Send { link, frame });
                }
                Input::Frame { link, frame }
            }
            Input::Up { link, remote } => Input::Up { link, remote },
            Input::Down { link } => Input::Down { link },
            Input::Full { link, frame } => Input::Full { link, frame },
        };
        self.outputs.push_back(Output::Effect(seen));
    }

    fn poll_output(&mut self) -> Option<Output<Input<()>>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }
}

struct Running {
    orders: Handle<Order>,
    seen: mpsc::Receiver<Input<()>>,
    stop: Shutdown,
    metrics: LinkMetrics,
    address: String,
    key: LinkKey,
    run: JoinHandle<Result<Probe, RtError>>,
}

impl Running {
    async fn next(&mut self) -> Input<()> {
        timeout(LIMIT, self.seen.recv())
            .await
            .expect("something happens in time")
            .expect("the role runs")
    }

    async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    fn target(&self, identify: bool) -> Target {
        Target {
            address: self.address.clone(),
            key: self.key,
            identify,
        }
    }

    async fn end(self) -> Probe {
        self.stop.trigger();
        self.run.await.unwrap().unwrap()
    }
}

fn identity(n: u8) -> LinkIdentity {
    LinkIdentity::from_secret(&Secret::new([n; 32]))
}

fn start(n: u8, echo: bool, change: impl FnOnce(&mut DriverOptions)) -> Running {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().to_string();
    let mut options = DriverOptions::node(Clock::start(), identity(n), listener);
    change(&mut options);
    let metrics = options.metrics.clone();
    let role = Probe {
        echo,
        ..Probe::default()
    };
    let (tell, seen) = mpsc::channel(10_000);
    let (orders, commands) = commands();
    let stop = Shutdown::new();
    let effects = move |_: Now, effect| drop(tell.try_send(effect));
    let run = tokio::spawn(Driver::run(role, options, effects, commands, stop.clone()));
    Running {
        orders,
        seen,
        stop,
        metrics,
        address,
        key: identity(n).public(),
        run,
    }
}

/// A frame with a number in it.
fn frame(n: usize) -> Frame {
    let mut bytes = Box::new([0; 2413]);
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    Frame::Packet(bytes)
}

const LINK: LinkId = LinkId::dialed(1);

#[tokio::test]
async fn frames_go_both_ways_in_order_and_a_closed_link_is_told() {
    let mut alice = start(1, false, |_| {});
    let mut bob = start(2, true, |_| {});
    alice.order(Order::Dial(LINK, bob.target(true))).await;
    let up = alice.next().await;
    assert_eq!(
        up,
        Input::Up {
            link: LINK,
            remote: Remote::Node(bob.key)
        }
    );
    let Input::Up { link, remote } = bob.next().await else {
        panic!("not up");
    };
    assert!(link.is_accepted());
    assert_eq!(remote, Remote::Node(alice.key));
    alice
        .order(Order::Send(LINK, (0..100).map(frame).collect()))
        .await;
    for n in 0..100 {
        let frame = frame(n);
        assert_eq!(alice.next().await, Input::Frame { link: LINK, frame });
    }
    for n in 0..100 {
        let frame = frame(n);
        assert_eq!(bob.next().await, Input::Frame { link, frame });
    }
    alice.order(Order::Send(LINK, vec![frame(7)])).await;
    alice.order(Order::Close(LINK)).await;
    let frame = frame(7);
    assert_eq!(bob.next().await, Input::Frame { link, frame });
    assert_eq!(bob.next().await, Input::Down { link });
    bob.end().await;
    assert!(
        alice.seen.try_recv().is_err(),
        "nothing names a link after its close"
    );
    assert_eq!(alice.end().await.frames, 100);
}

#[tokio::test]
async fn a_client_is_anonymous_where_clients_are_taken_and_refused_elsewhere() {
    let mut client = start(1, false, |options| {
        options.identity = None;
        options.listen = None;
    });
    let mut provider = start(2, false, |options| options.accept_clients = true);
    let mix = start(3, false, |_| {});
    client
        .order(Order::Dial(LINK, provider.target(false)))
        .await;
    assert!(matches!(client.next().await, Input::Up { link: LINK, .. }));
    let Input::Up { link, remote } = provider.next().await else {
        panic!("not up");
    };
    assert_eq!(remote, Remote::Anonymous);
    // A client's cover is the role's to see.
    client.order(Order::Send(LINK, vec![Frame::Dummy])).await;
    let frame = Frame::Dummy;
    assert_eq!(provider.next().await, Input::Frame { link, frame });
    let other = LinkId::dialed(2);
    client.order(Order::Dial(other, mix.target(false))).await;
    // TLS 1.3 tells a client of its refusal after its own handshake is done.
    let mut seen = client.next().await;
    if matches!(seen, Input::Up { .. }) {
        seen = client.next().await;
    }
    assert_eq!(seen, Input::Down { link: other });
    let third = LinkId::dialed(3);
    client.order(Order::Dial(third, mix.target(true))).await;
    assert_eq!(client.next().await, Input::Down { link: third });
    client.end().await;
    assert_eq!(provider.next().await, Input::Down { link });
    provider.end().await;
    assert_eq!(mix.end().await.frames, 0);
}

#[tokio::test]
async fn a_dial_to_nobody_or_to_somebody_else_is_down_without_up() {
    let mut alice = start(1, false, |_| {});
    let bob = start(2, false, |_| {});
    let mut target = bob.target(true);
    target.key = identity(9).public();
    alice.order(Order::Dial(LINK, target)).await;
    assert_eq!(alice.next().await, Input::Down { link: LINK });
    let target = bob.target(true);
    bob.end().await;
    let link = LinkId::dialed(2);
    alice.order(Order::Dial(link, target)).await;
    assert_eq!(alice.next().await, Input::Down { link });
    assert_eq!(alice.metrics.handshake_failed.get(), 2);
    alice.end().await;
}

#[tokio::test]
async fn what_a_full_queue_does_not_take_comes_back() {
    let mut alice = start(1, false, |_| {});
    let mut bob = start(2, false, |_| {});
    alice.order(Order::Send(LINK, vec![frame(0)])).await;
    alice.order(Order::Dial(LINK, bob.target(true))).await;
    assert!(matches!(alice.next().await, Input::Up { .. }));
    assert!(matches!(bob.next().await, Input::Up { .. }));
    // One order is carried out without a pause, so that nothing is written in between.
    let extra = 10;
    alice
        .order(Order::Send(
            LINK,
            (0..limits::QUEUE_NODE + extra).map(frame).collect(),
        ))
        .await;
    for n in 0..extra {
        let frame = frame(limits::QUEUE_NODE + n);
        assert_eq!(alice.next().await, Input::Full { link: LINK, frame });
    }
    for n in 0..limits::QUEUE_NODE {
        let Input::Frame { frame: came, .. } = bob.next().await else {
            panic!("not a frame");
        };
        assert_eq!(came, frame(n));
    }
    assert_eq!(alice.metrics.full.get(), extra as u64);
    assert_eq!(alice.metrics.unsent.get(), 1, "before the dial");
    alice.end().await;
    bob.end().await;
}

/// Stands between two ends and stops carrying after `bytes` from the dialler.
async fn stalling(to: String, bytes: usize) -> (String, JoinHandle<(TcpStream, TcpStream)>) {
    use whist_rt::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let carried = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(to).await.unwrap();
        let (mut out, mut back) = (vec![0; 4096], vec![0; 4096]);
        let mut left = bytes;
        while left > 0 {
            tokio::select! {
                count = near.read(&mut out) => {
                    let count = count.unwrap().min(left);
                    far.write_all(&out[..count]).await.unwrap();
                    left -= count;
                }
                count = far.read(&mut back) => {
                    near.write_all(&back[..count.unwrap()]).await.unwrap();
                }
            }
        }
        (near, far)
    });
    (address, carried)
}

#[tokio::test]
async fn a_peer_that_stops_reading_costs_only_its_own_queue() {
    let mut alice = start(1, false, |_| {});
    let mut slow = start(2, false, |_| {});
    let mut quick = start(3, true, |_| {});
    let (address, carried) = stalling(slow.address.clone(), 5 * 2436).await;
    let target = Target {
        address,
        ..slow.target(true)
    };
    let stalled = LinkId::dialed(2);
    alice.order(Order::Dial(stalled, target)).await;
    assert!(matches!(alice.next().await, Input::Up { .. }));
    assert!(matches!(slow.next().await, Input::Up { .. }));
    alice.order(Order::Dial(LINK, quick.target(true))).await;
    assert!(matches!(alice.next().await, Input::Up { .. }));
    assert!(matches!(quick.next().await, Input::Up { .. }));
    // More than the kernel's buffers and our queue hold together: some come back.
    let (mut returned, mut given_up) = (0, false);
    for n in 0..200 {
        alice
            .order(Order::Send(stalled, (0..100).map(frame).collect()))
            .await;
        alice.order(Order::Send(LINK, vec![frame(n)])).await;
        loop {
            match alice.next().await {
                Input::Full { link, .. } if link == stalled => returned += 1,
                // On a slow machine its write deadline passes meanwhile.
                Input::Down { link } if link == stalled => given_up = true,
                Input::Frame {
                    link: LINK,
                    frame: came,
                } => {
                    assert_eq!(came, frame(n));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(returned > 0, "the queue is bounded");
    let (near, _far) = carried.await.unwrap();
    drop(near);
    while !given_up {
        given_up = matches!(alice.next().await, Input::Down { link } if link == stalled);
    }
    alice.end().await;
    slow.end().await;
    quick.end().await;
}

#[tokio::test]
async fn under_load_a_dialler_solves_a_puzzle_first() {
    let mut alice = start(1, false, |_| {});
    let mut bob = start(2, false, |options| options.handshakes_without_puzzle = 0);
    alice.order(Order::Dial(LINK, bob.target(true))).await;
    assert!(matches!(alice.next().await, Input::Up { .. }));
    assert!(matches!(bob.next().await, Input::Up { .. }));
    assert_eq!(bob.metrics.puzzles.get(), 1);
    alice.end().await;
    bob.end().await;
}

#[tokio::test]
async fn silent_and_half_open_sockets_are_closed_after_ten_seconds() {
    use whist_rt::io::AsyncReadExt;
    let bob = start(2, false, |_| {});
    let begun = tokio::time::Instant::now();
    let mut sockets = Vec::new();
    for _ in 0..50 {
        sockets.push(TcpStream::connect(&bob.address).await.unwrap());
    }
    let started = tokio::time::Instant::now();
    tokio::time::pause();
    for mut socket in sockets {
        let read = socket.read(&mut [0; 100]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "nothing is said to them");
    }
    // Real time passed between the two on a slow machine, none after.
    assert!(begun.elapsed() >= HANDSHAKE, "{:?}", begun.elapsed());
    let after = started.elapsed();
    assert!(after <= HANDSHAKE + GRAIN, "{after:?}");
    tokio::time::resume();
    assert_eq!(bob.metrics.handshake_failed.get(), 50);
    bob.end().await;
}

#[tokio::test]
async fn a_peer_that_opens_a_link_and_says_nothing_is_closed() {
    let mut alice = start(1, false, |_| {});
    let mut bob = start(2, false, |_| {});
    let begun = tokio::time::Instant::now();
    alice.order(Order::Dial(LINK, bob.target(true))).await;
    assert!(matches!(alice.next().await, Input::Up { .. }));
    assert!(matches!(bob.next().await, Input::Up { .. }));
    let started = tokio::time::Instant::now();
    tokio::time::pause();
    assert!(matches!(bob.next().await, Input::Down { .. }));
    assert!(begun.elapsed() >= HANDSHAKE, "{:?}", begun.elapsed());
    let after = started.elapsed();
    assert!(after <= HANDSHAKE + GRAIN, "{after:?}");
    assert_eq!(alice.next().await, Input::Down { link: LINK });
    tokio::time::resume();
    alice.end().await;
    bob.end().await;
}

#[tokio::test]
async fn links_between_nodes_stay_up_while_idle_and_roles_see_no_keep_alive() {
    let mut alice = start(1, false, |_| {});
    let mut bob = start(2, false, |_| {});
    alice.order(Order::Dial(LINK, bob.target(true))).await;
    assert!(matches!(alice.next().await, Input::Up { .. }));
    assert!(matches!(bob.next().await, Input::Up { .. }));
    alice.order(Order::Send(LINK, vec![frame(1)])).await;
    assert!(matches!(bob.next().await, Input::Frame { .. }));
    tokio::time::pause();
    // Paused time jumps to the next timer when all tasks wait; half-second steps leave the
    // sockets time to carry what the timers sent.
    for _ in 0..600 {
        tokio::time::advance(Duration::from_millis(500)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::resume();
    alice.order(Order::Send(LINK, vec![frame(2)])).await;
    let Input::Frame { frame: came, .. } = bob.next().await else {
        panic!("something else than the frame");
    };
    assert_eq!(came, frame(2));
    assert!(alice.metrics.frames_in.get() >= 10, "keep-alives came");
    alice.end().await;
    bob.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_comes_when_it_is_due_and_not_before() {
    let mut alice = start(1, false, |_| {});
    let started = tokio::time::Instant::now();
    // Further away than the driver's longest timer.
    alice
        .order(Order::WakeIn(Duration::from_secs(200_000)))
        .await;
    let seen = alice.seen.recv().await.unwrap();
    assert_eq!(seen, Input::Timeout);
    assert_eq!(started.elapsed().as_secs(), 200_000);
    alice.end().await;
}

#[tokio::test]
async fn a_driver_that_ends_sends_what_is_queued_and_says_good_bye() {
    let mut alice = start(1, false, |_| {});
    let mut bob = start(2, false, |_| {});
    alice.order(Order::Dial(LINK, bob.target(true))).await;
    assert!(matches!(alice.next().await, Input::Up { .. }));
    assert!(matches!(bob.next().await, Input::Up { .. }));
    alice
        .order(Order::Send(LINK, (0..300).map(frame).collect()))
        .await;
    // The order is carried out before the token is looked at, or it is not carried out at all.
    alice.order(Order::WakeIn(Duration::ZERO)).await;
    assert_eq!(alice.next().await, Input::Timeout);
    alice.end().await;
    for n in 0..300 {
        let Input::Frame { frame: came, .. } = bob.next().await else {
            panic!("not a frame");
        };
        assert_eq!(came, frame(n));
    }
    assert!(matches!(bob.next().await, Input::Down { .. }));
    bob.end().await;
}

#[tokio::test]
async fn a_failed_token_and_a_panic_end_the_run_with_an_error() {
    let alice = start(1, false, |_| {});
    alice.stop.fail("the store broke");
    let error = alice.run.await.unwrap().err().unwrap();
    assert_eq!(error.to_string(), "the store broke");
    let bob = start(2, false, |_| {});
    bob.order(Order::Panic).await;
    assert!(bob.run.await.unwrap_err().is_panic());
}

#[tokio::test]
async fn a_listener_needs_a_key_and_an_identified_dial_too() {
    let alice = start(1, false, |options| options.identity = None);
    let ended = alice.run.await.unwrap();
    assert!(matches!(ended, Err(RtError::NoIdentity)));
    let mut bob = start(2, false, |options| {
        options.identity = None;
        options.listen = None;
    });
    let target = bob.target(true);
    bob.order(Order::Dial(LINK, target)).await;
    assert_eq!(bob.next().await, Input::Down { link: LINK });
    bob.end().await;
}
