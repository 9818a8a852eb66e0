//! Two toy roles that play ball, to show what the world does to frames.
#![allow(clippy::arithmetic_side_effects)]

use whist_link::{Frame, Role};

use super::*;

/// Dials (or waits), throws a `Dummy` every second, counts what it catches.
struct Thrower {
    target: Option<Target>,
    out: Vec<Output<()>>,
    link: Option<LinkId>,
    dials: u64,
    next: Option<Instant>,
    caught: Vec<Instant>,
    ups: u32,
    downs: u32,
}

impl Thrower {
    fn new(target: Option<Target>) -> Self {
        let next = target.is_some().then_some(Instant::ZERO);
        let (out, caught) = (Vec::new(), Vec::new());
        Self {
            target,
            out,
            link: None,
            dials: 0,
            next,
            caught,
            ups: 0,
            downs: 0,
        }
    }
}

impl Role for Thrower {
    type Command = ();
    type Effect = ();

    fn handle(&mut self, now: Now, input: Input<()>) {
        match input {
            Input::Up { link, .. } => (self.ups, self.link) = (self.ups + 1, Some(link)),
            Input::Down { .. } => (self.downs, self.link) = (self.downs + 1, None),
            Input::Frame { .. } => self.caught.push(now.instant),
            Input::Timeout => {
                self.next = Some(now.instant.after(Duration::from_secs(1)));
                match (self.link, self.target.clone()) {
                    (Some(link), _) => self.out.push(Output::Send {
                        link,
                        frame: Frame::Dummy,
                    }),
                    (None, Some(target)) => {
                        self.dials += 1;
                        self.out.push(Output::Dial {
                            link: LinkId::dialed(self.dials),
                            target,
                        });
                    }
                    (None, None) => {}
                }
            }
            Input::Full { .. } | Input::Command(()) => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output<()>> {
        (!self.out.is_empty()).then(|| self.out.remove(0))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

struct Nothing;

impl Environment<Thrower> for Nothing {
    fn effect(&mut self, _: Now, _: &mut Thrower, (): ()) -> Vec<(Duration, ())> {
        Vec::new()
    }
}

type Toy = Host<Thrower, Nothing>;

fn world(law: LinkLaw) -> (World, ActorId, ActorId) {
    let key = LinkKey::from_bytes([1; 32]);
    let mut world = World::new(Secret::new([9; 32]), Wall::from_secs(1000), law);
    let place = |name: &str, address: Option<&str>, key| Place {
        name: name.into(),
        address: address.map(Into::into),
        key,
    };
    let catcher = Host::new(Thrower::new(None), Nothing);
    let b = world.add(place("b", Some("b:1"), Some(key)), Box::new(catcher));
    let target = Target {
        address: "b:1".into(),
        key,
        identify: false,
    };
    let a = world.add(
        place("a", None, None),
        Box::new(Host::new(Thrower::new(Some(target)), Nothing)),
    );
    (world, a, b)
}

fn caught(world: &mut World, id: ActorId) -> usize {
    world.actor::<Toy>(id).unwrap().role.caught.len()
}

#[test]
fn frames_arrive_after_the_latency_and_the_observer_sees_both_ends() {
    let (mut world, a, b) = world(LinkLaw::after(Duration::from_millis(100)));
    world.watch(a);
    world.run_for(Duration::from_millis(10_500));
    assert_eq!(caught(&mut world, b), 10);
    let first = world.actor::<Toy>(b).unwrap().role.caught[0];
    assert_eq!(first, Instant::from_nanos(1_100_000_000));
    assert_eq!(
        world.trace().of("a", Some(Direction::Out)).lines().len(),
        10
    );
    assert_eq!(world.now().wall, Wall::from_millis(1_010_500));
}

#[test]
fn one_seed_gives_one_run_under_loss_jitter_and_duplication() {
    let law = LinkLaw {
        jitter: Duration::from_millis(50),
        loss_ppm: 300_000,
        duplicate_ppm: 300_000,
        ..LinkLaw::after(Duration::from_millis(5))
    };
    let run = || {
        let (mut world, _, b) = world(law.clone());
        world.watch(b);
        world.run_for(Duration::from_secs(1000));
        (caught(&mut world, b), world.trace().to_text())
    };
    let (count, text) = run();
    assert_eq!((count, text), run());
    // 999 thrown, 0.7 survive, each 1.3 times.
    assert!((860..960).contains(&count), "{count}");
}

#[test]
fn a_cut_loses_frames_and_a_kill_breaks_links() {
    let (mut world, a, b) = world(LinkLaw::after(Duration::from_millis(10)));
    world.run_for(Duration::from_millis(5_500));
    let before = caught(&mut world, b);
    world.set_cut(a, b, true);
    world.run_for(Duration::from_secs(5));
    assert_eq!(caught(&mut world, b), before);
    world.set_cut(a, b, false);
    let dead = world.kill(b).unwrap();
    world.run_for(Duration::from_secs(3));
    let role = &world.actor::<Toy>(a).unwrap().role;
    assert!(
        (role.ups, role.downs) >= (1, 2),
        "the link broke and redials failed"
    );
    world.start(b, dead);
    world.run_for(Duration::from_secs(3));
    assert!(caught(&mut world, b) > before);
}
