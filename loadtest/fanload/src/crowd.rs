//! The crowd: all clients of a generator, on one thread and one epoll.
//!
//! It opens and polls; what is said when is the measurement's business.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::client::Client;
use crate::dialect::State;
use crate::plan::Plan;
use crate::tally::Tally;

/// Bytes that one read takes: a burst of many frames at once.
const SCRATCH_BYTES: usize = 256 * 1024;

/// Sockets that come from one address; beyond half of its ports the kernel takes long to find a free one.
const PORTS_AN_ADDRESS: usize = 8_000;

/// File descriptors besides those of sockets.
const DESCRIPTORS_SPARE: usize = 64;

/// The clients of a generator.
pub struct Crowd {
    plan: Plan,
    poll: Poll,
    events: Events,
    /// The clients, by number.
    pub clients: Vec<Client>,
    /// What they count.
    pub tally: Tally,
    scratch: Vec<u8>,
    next: usize,
    ready: usize,
    dead: usize,
    /// The clients that died in the last turns, for somebody who brings them back.
    pub lost: Vec<usize>,
}

impl Crowd {
    /// Makes the clients; nothing is opened.
    ///
    /// # Errors
    /// When there are more sockets than file descriptors, or no epoll.
    pub fn new(plan: Plan) -> io::Result<Self> {
        raise_descriptors(plan.sockets)?;
        let clients = (0..plan.sockets).map(|number| Client::new(number, number % plan.topics));
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(8_192),
            clients: clients.collect(),
            tally: Tally::new(plan.topics),
            scratch: vec![0; SCRATCH_BYTES],
            plan,
            next: 0,
            ready: 0,
            dead: 0,
            lost: Vec::new(),
        })
    }

    /// Returns what it was told to do.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns how many clients have joined.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Returns how many clients are gone.
    pub fn dead(&self) -> usize {
        self.dead
    }

    /// Says whether every client has joined or is gone.
    pub fn is_settled(&self) -> bool {
        self.ready + self.dead >= self.clients.len()
    }

    /// Opens further clients, at most `opening` at once.
    ///
    /// # Errors
    /// When a socket can't be made.
    pub fn open_more(&mut self, opening: usize) -> io::Result<()> {
        while self.next < self.clients.len() && self.next - self.ready - self.dead < opening {
            self.open(self.next)?;
            self.next += 1;
        }
        Ok(())
    }

    /// Opens a client, from the address that the plan names.
    ///
    /// # Errors
    /// When a socket can't be made.
    pub fn open(&mut self, number: usize) -> io::Result<()> {
        let to = self.plan.addr[number % self.plan.addr.len()];
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(first) = self.plan.from {
            socket
                .bind(&SocketAddr::new(nth_address(first, number / PORTS_AN_ADDRESS), 0).into())?;
        }
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            Ok(()) | Err(_) => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(number), interest)?;
        self.clients[number].open(stream);
        Ok(())
    }

    /// Brings a dead client back.
    ///
    /// # Errors
    /// When a socket can't be made.
    pub fn reopen(&mut self, number: usize) -> io::Result<()> {
        self.dead -= 1;
        self.open(number)
    }

    /// Closes every client.
    pub fn close_all(&mut self) {
        self.clients.iter_mut().for_each(Client::close);
        (self.ready, self.dead) = (0, self.clients.len());
    }

    /// Breaks off every client's connection.
    pub fn break_all(&mut self) {
        self.clients.iter_mut().for_each(Client::break_off);
        (self.ready, self.dead) = (0, self.clients.len());
    }

    /// Waits for news of the clients, at most `within`, and takes them.
    ///
    /// # Errors
    /// When epoll fails.
    pub fn turn(&mut self, within: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(within)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for event in &self.events {
            let number = event.token().0;
            let client = &mut self.clients[number];
            if !client.is_open() {
                continue;
            }
            let before = client.state;
            let (writable, readable) = (event.is_writable(), event.is_readable());
            client.wake(
                writable,
                readable,
                &self.plan,
                &mut self.tally,
                &mut self.scratch,
            );
            if client.state == before {
                continue;
            }
            match client.state {
                State::Ready => self.ready += 1,
                State::Dead => {
                    self.ready -= usize::from(before == State::Ready);
                    self.dead += 1;
                    client.close();
                    self.lost.push(number);
                }
                State::Connecting | State::Upgrading | State::Greeting | State::Joining => {}
            }
        }
        Ok(())
    }
}

/// Returns the address so many behind `first`.
fn nth_address(first: IpAddr, nth: usize) -> IpAddr {
    match first {
        // At most a few thousand sockets by thousands: far from the end of any network.
        IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().wrapping_add(nth as u32)).into(),
        IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().wrapping_add(nth as u128)).into(),
    }
}

/// Raises the soft limit of file descriptors to what the sockets need.
fn raise_descriptors(sockets: usize) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = (sockets + DESCRIPTORS_SPARE) as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        let why = format!("{sockets} sockets need {wanted} file descriptors, see `ulimit -Hn`");
        return Err(io::Error::other(why));
    }
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}
