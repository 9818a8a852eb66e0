//! A user-space proxy before each listener: it records (time, link, direction, TLS record length),
//! delays and cuts. It sees what somebody on the wire sees, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use whist_rt::io::{AsyncReadExt, AsyncWriteExt};
use whist_rt::raw::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use whist_rt::sync::{Notify, mpsc};
use whist_rt::{Clock, task, time};
use whist_types::Instant;

use super::records::{Record, Records, frame_lengths};

const READ_BYTES: usize = 64 * 1024;
/// Chunks under way in one direction; when it is full, the sender waits, as TCP would let it.
const CHUNKS_MAX: usize = 64;

/// Which way a record went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Way {
    /// From the one who dialed.
    Up,
    /// To the one who dialed.
    Down,
}

/// One connection as the recorder saw it.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// The proxy's name: whom it stands before.
    pub link: String,
    /// Records from the dialer, with the time at which they passed.
    pub up: Vec<(Instant, Record)>,
    /// Records to the dialer.
    pub down: Vec<(Instant, Record)>,
}

/// Collects what all proxies of one network see.
#[derive(Clone)]
pub struct Recorder {
    clock: Clock,
    flows: Arc<Mutex<Vec<Flow>>>,
    /// All bytes by flow and way, once they are asked for.
    kept: Arc<Mutex<Option<Kept>>>,
}

type Kept = BTreeMap<(usize, Way), Vec<u8>>;

impl Recorder {
    /// An empty one.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            flows: Arc::default(),
            kept: Arc::default(),
        }
    }

    /// Keeps every byte that passes from now on.
    pub fn keep_bytes(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert_default();
    }

    /// Every byte that was kept, one flow and way after the other.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.iter().flat_map(BTreeMap::values);
        kept.cloned().collect()
    }

    fn keep(&self, flow: usize, way: Way, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &mut *kept {
            kept.entry((flow, way))
                .or_default()
                .extend_from_slice(bytes);
        }
    }

    /// Everything seen so far.
    pub fn flows(&self) -> Vec<Flow> {
        self.flows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// One of them, by its place among all.
    pub fn flow(&self, place: usize) -> Flow {
        let flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        flows.get(place).cloned().unwrap_or_default()
    }

    /// The set of lengths of all records that carry frames, on all links.
    pub fn frame_sizes(&self) -> BTreeSet<usize> {
        let flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        let directions = flows.iter().flat_map(|flow| [&flow.up, &flow.down]);
        directions
            .flat_map(|seen| {
                frame_lengths(&seen.iter().map(|(_, record)| *record).collect::<Vec<_>>())
            })
            .collect()
    }

    fn open(&self, link: &str) -> usize {
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        flows.push(Flow {
            link: link.to_owned(),
            ..Flow::default()
        });
        flows.len().saturating_sub(1)
    }

    fn note(&self, flow: usize, way: Way, records: Vec<Record>) {
        let now = self.clock.now().instant;
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(flow) = flows.get_mut(flow) else {
            return;
        };
        let side = if way == Way::Up {
            &mut flow.up
        } else {
            &mut flow.down
        };
        side.extend(records.into_iter().map(|record| (now, record)));
    }
}

#[derive(Default)]
struct Control {
    cut: AtomicBool,
    delay_us: AtomicU64,
    dials: AtomicU64,
    changed: Notify,
}

/// One proxy, before one listener. Dropping it ends it and its connections.
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    task: task::JoinHandle<()>,
}

impl Proxy {
    /// Binds a free port of loopback; `start` gives it its upstream.
    pub async fn bind() -> std::io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    /// Passes what comes to `listener` on to `upstream`, under the name `link`.
    pub fn start(
        listener: TcpListener,
        upstream: SocketAddr,
        link: &str,
        recorder: Recorder,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let control = Arc::<Control>::default();
        let task = task::spawn(accept(
            listener,
            upstream,
            link.to_owned(),
            recorder,
            Arc::clone(&control),
        ));
        Ok(Self {
            address,
            control,
            task,
        })
    }

    /// Where others dial.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often somebody has dialled it, whether its upstream was there or not.
    pub fn dials(&self) -> u64 {
        self.control.dials.load(Ordering::SeqCst)
    }

    /// Breaks all connections and refuses new ones, until it is mended.
    pub fn cut(&self, cut: bool) {
        self.control.cut.store(cut, Ordering::SeqCst);
        self.control.changed.notify_waiters();
    }

    /// Every chunk that arrives from now on is passed on this much later.
    pub fn delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.control.delay_us.store(micros, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut(true);
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    link: String,
    recorder: Recorder,
    control: Arc<Control>,
) {
    while let Ok((near, _)) = listener.accept().await {
        control.dials.fetch_add(1, Ordering::SeqCst);
        if control.cut.load(Ordering::SeqCst) {
            continue;
        }
        let (link, recorder, control) = (link.clone(), recorder.clone(), Arc::clone(&control));
        task::spawn(async move {
            let Ok(far) = TcpStream::connect(upstream).await else {
                return;
            };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let flow = recorder.open(&link);
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            let cut = async {
                loop {
                    let changed = control.changed.notified();
                    if control.cut.load(Ordering::SeqCst) {
                        return;
                    }
                    changed.await;
                }
            };
            let up = pump(near_read, far_write, &recorder, flow, Way::Up, &control);
            let down = pump(far_read, near_write, &recorder, flow, Way::Down, &control);
            task::select! {
                () = cut => {}
                ((), ()) = async { task::join!(up, down) } => {}
            }
        });
    }
}

/// One direction: read, record, wait out the delay, write.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    recorder: &Recorder,
    flow: usize,
    way: Way,
    control: &Control,
) {
    let (sender, mut receiver) = mpsc::channel::<(time::Instant, Vec<u8>)>(CHUNKS_MAX);
    let read = async move {
        let mut records = Records::default();
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let bytes = buffer.get(..count).unwrap_or_default();
            recorder.note(flow, way, records.push(bytes));
            recorder.keep(flow, way, bytes);
            let delay = Duration::from_micros(control.delay_us.load(Ordering::SeqCst));
            let now = time::Instant::now();
            let due = now.checked_add(delay).unwrap_or(now);
            if sender.send((due, bytes.to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    task::join!(read, write);
}

#[cfg(test)]
mod tests {
    use whist_link::RECORD_BYTES;

    use super::*;

    async fn echo(listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            task::spawn(async move {
                let (mut read, mut write) = stream.into_split();
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = read.read(&mut buffer).await {
                    if write.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    #[test]
    fn bytes_pass_both_ways_are_recorded_and_a_cut_breaks_the_connection() {
        let test = async {
            let (far, upstream) = Proxy::bind().await.unwrap();
            task::spawn(echo(far));
            let (listener, address) = Proxy::bind().await.unwrap();
            let recorder = Recorder::new(Clock::start());
            let proxy = Proxy::start(listener, upstream, "echo", recorder.clone()).unwrap();
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut record = vec![23, 3, 3, 0x09, 0x7f];
            record.resize(RECORD_BYTES, 7);
            let mut back = vec![0; RECORD_BYTES];
            for _ in 0..2 {
                stream.write_all(&record).await.unwrap();
                stream.read_exact(&mut back).await.unwrap();
                assert_eq!(back, record);
            }
            assert_eq!(recorder.frame_sizes(), [RECORD_BYTES].into());
            proxy.cut(true);
            assert_eq!(stream.read(&mut back).await.unwrap_or(0), 0);
        };
        whist_rt::block_on(test).unwrap();
    }
}
