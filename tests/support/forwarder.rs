//! An address that stays while the node behind it changes, as a load balancer's does.
//!
//! It never reads what it forwards.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Where connections go; a change of `cuts` ends those that are open.
#[derive(Debug, Clone, Copy)]
struct Route {
    node: Option<SocketAddr>,
    cuts: u32,
}

/// A TCP forwarder on a thread of its own; it ends with its owner.
pub struct Forwarder {
    address: SocketAddr,
    route: Option<watch::Sender<Route>>,
    refused: watch::Receiver<u32>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Listens on a free port and forwards to a node.
    pub fn to(node: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listening = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listening.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let node = Some(node);
        let (route, routes) = watch::channel(Route { node, cuts: 0 });
        let (count, refused) = watch::channel(0);
        let thread = thread::spawn(move || runtime.block_on(accept(listener, routes, count)));
        Self {
            address,
            route: Some(route),
            refused,
            thread: Some(thread),
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections to another node; the open ones stay where they are.
    pub fn point(&self, node: SocketAddr) {
        self.change(|route| route.node = Some(node));
    }

    /// Resets every connection, and refuses new ones, as a killed node's machine does.
    pub fn cut(&self) {
        self.change(|route| {
            route.node = None;
            route.cuts += 1;
        });
    }

    /// Waits until so many connections were refused.
    ///
    /// # Panics
    /// When it takes longer than 30 s.
    pub fn await_refused(&self, count: u32) {
        let until = Instant::now() + Duration::from_secs(30);
        while *self.refused.borrow() < count {
            assert!(Instant::now() < until, "nobody came to be refused");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn change(&self, how: impl FnOnce(&mut Route)) {
        let route = self.route.as_ref().expect("only the end takes it");
        route.send_modify(how);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.route = None;
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))) || thread::panicking());
    }
}

async fn accept(
    listener: TcpListener,
    mut routes: watch::Receiver<Route>,
    refused: watch::Sender<u32>,
) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.expect("a listener that works");
                let route = *routes.borrow();
                match route.node {
                    Some(node) => drop(tokio::spawn(forward(client, node, route.cuts, routes.clone()))),
                    None => {
                        reset(&client);
                        refused.send_modify(|count| *count += 1);
                    }
                }
            }
            changed = routes.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn forward(
    mut client: TcpStream,
    node: SocketAddr,
    cuts: u32,
    mut routes: watch::Receiver<Route>,
) {
    let Ok(mut server) = TcpStream::connect(node).await else {
        return reset(&client);
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a connected stream");
    }
    let over = tokio::select! {
        // How a connection ends is the matter of its two ends.
        _ = copy_bidirectional(&mut client, &mut server) => false,
        _ = routes.wait_for(|route| route.cuts != cuts) => true,
    };
    if over {
        reset(&client);
        reset(&server);
    }
}

/// Makes the end of the stream a reset.
fn reset(stream: &TcpStream) {
    let set = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    set.expect("a socket that lingers as it is told");
}
