//! An issuer's web server: one answer to every request, which a test may change.
//!
//! It serves one request a connection and ends with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// How long a test waits for a request.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Default)]
struct State {
    answer: String,
    requests: Vec<String>,
}

/// A server on a free port of loopback.
pub struct KeyServer {
    addr: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl KeyServer {
    /// Starts a server that answers 200 with this body.
    pub fn start(body: &str) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a free port"), body)
    }

    /// As [`KeyServer::start`], on a listener that exists.
    pub fn on(listener: TcpListener, body: &str) -> Self {
        let addr = listener.local_addr().expect("bound");
        let server = Self {
            addr,
            shared: Arc::default(),
        };
        server.serve(body);
        let shared = server.shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &shared);
            }
        });
        server
    }

    /// Where the set is.
    pub fn url(&self) -> String {
        format!("http://{}/keys.json?apikey=swordfish", self.addr)
    }

    /// Answers 200 with this body from now on.
    pub fn serve(&self, body: &str) {
        let length = body.len();
        self.say(&format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
    }

    /// Answers with these bytes from now on.
    pub fn say(&self, answer: &str) {
        self.shared.0.lock().expect("no panic holds it").answer = answer.to_owned();
    }

    /// How many requests came so far.
    pub fn requests(&self) -> usize {
        self.shared
            .0
            .lock()
            .expect("no panic holds it")
            .requests
            .len()
    }

    /// Waits until so many requests came; the last one's head.
    pub fn await_requests(&self, count: usize) -> String {
        let (state, news) = &*self.shared;
        let state = state.lock().expect("no panic holds it");
        let few = |state: &mut State| state.requests.len() < count;
        let (state, late) = news
            .wait_timeout_while(state, LIMIT, few)
            .expect("no panic holds it");
        assert!(!late.timed_out(), "{} requests", state.requests.len());
        state.requests.last().cloned().expect("at least one")
    }
}

fn answer(mut stream: TcpStream, shared: &(Mutex<State>, Condvar)) {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    while !head.ends_with("\r\n\r\n") {
        if !matches!(reader.read_line(&mut head), Ok(1..)) {
            return;
        }
    }
    let (state, news) = shared;
    let said = {
        // Counted first: who has the answer finds its request counted.
        let mut state = state.lock().expect("no panic holds it");
        state.requests.push(head);
        state.answer.clone()
    };
    news.notify_all();
    // A client that has seen enough may be gone.
    let _ = stream.write_all(said.as_bytes());
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = reader.read(&mut [0]);
}
