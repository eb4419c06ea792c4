//! Questions to sessions of other workers and nodes, and the way of their answers back.
//!
//! It knows nothing of sessions; who waits for an answer gives up by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::{Answer, PubSub, Question};
use crate::broker::{BrokerError, Letter, node_topic};
use crate::protocol::Topic;

/// Answers to one question that may wait: `Working` now and then, and the last one.
const ANSWERS_WAITING_MAX: usize = 8;

/// Where an answer goes.
#[derive(Debug)]
pub enum AnswerTo {
    /// To a worker of this node.
    Here(oneshot::Sender<Answer>),
    /// To another node.
    Node {
        /// Its incarnation.
        incarnation: u64,
        /// The number of the question there.
        request: u64,
    },
}

impl AnswerTo {
    /// Sends the answer; nobody may be waiting any more.
    pub fn answer(self, pubsub: &PubSub, answer: Answer) {
        match self {
            Self::Here(sender) => drop(sender.send(answer)),
            Self::Node {
                incarnation,
                request,
            } => {
                let letter = Letter::Answer {
                    request,
                    answer: answer.encode(),
                };
                pubsub.tell_nodes(&node_topic(incarnation), letter);
            }
        }
    }

    /// Tells another node that the question has arrived; a worker of this node knows.
    pub fn working(&self, pubsub: &PubSub) {
        match *self {
            Self::Here(_) => {}
            Self::Node {
                incarnation,
                request,
            } => Self::Node {
                incarnation,
                request,
            }
            .answer(pubsub, Answer::Working),
        }
    }

    /// Resolves when nobody waits any more; never for another node, which doesn't tell.
    pub async fn abandoned(&mut self) {
        match self {
            Self::Here(sender) => sender.closed().await,
            Self::Node { .. } => std::future::pending().await,
        }
    }
}

/// A question on its way to a worker, with the way of its answer; taken once.
#[derive(Debug, Clone)]
pub struct Asked {
    content: Arc<Mutex<Option<(Question, AnswerTo)>>>,
    bytes: usize,
}

impl Asked {
    /// Puts a question and the way of its answer together.
    pub fn new(question: Question, to: AnswerTo) -> Self {
        Self {
            bytes: question.bytes(),
            content: Arc::new(Mutex::new(Some((question, to)))),
        }
    }

    /// Returns the bytes of the question's body, for the bounds of mailboxes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes both; `None` when somebody has.
    pub fn take(&self) -> Option<(Question, AnswerTo)> {
        self.content.lock().take()
    }
}

/// The questions that this node has put to others. Its size is bounded by the requests under way.
#[derive(Debug)]
pub struct Calls {
    incarnation: u64,
    numbers: AtomicU64,
    waiting: Mutex<HashMap<u64, mpsc::Sender<Answer>>>,
}

impl Calls {
    /// Starts without questions; `incarnation` is random and names this run of the node.
    pub fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            numbers: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// Returns the name of this run of the node.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Returns the topic that this node must subscribe to.
    pub fn topic(&self) -> Topic {
        node_topic(self.incarnation)
    }

    /// Puts a question to a worker of another node.
    ///
    /// # Errors
    /// [`BrokerError`] when it can't be published.
    pub fn ask(
        &self,
        pubsub: &PubSub,
        node: u64,
        worker: u32,
        question: &Question,
    ) -> Result<Call<'_>, BrokerError> {
        let (sender, answers) = mpsc::channel(ANSWERS_WAITING_MAX);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().insert(number, sender);
        let call = Call {
            calls: self,
            number,
            answers,
        };
        let letter = Letter::Ask {
            from: self.incarnation,
            request: number,
            worker,
            question: question.encode(),
        };
        pubsub.broker().publish(&node_topic(node), letter)?;
        Ok(call)
    }

    /// Takes an answer of another node; one that nobody waits for is dropped.
    pub fn answered(&self, request: u64, answer: &Bytes) {
        let Some(answer) = Answer::decode(answer) else {
            tracing::warn!("an answer of another node cannot be read");
            return;
        };
        if let Some(sender) = self.waiting.lock().get(&request) {
            // Only `Working` can fill the channel, and one of them is as good as many.
            let _ = sender.try_send(answer);
        }
    }
}

/// A question under way; dropping it gives up.
#[derive(Debug)]
pub struct Call<'a> {
    calls: &'a Calls,
    number: u64,
    answers: mpsc::Receiver<Answer>,
}

impl Call<'_> {
    /// Waits for the answer: `found` for a first word, and `patience` more after each `Working`.
    ///
    /// [`Answer::Gone`] when the other node does not answer in time.
    pub async fn answer(mut self, found: Duration, patience: Duration) -> Answer {
        let mut within = found;
        loop {
            match tokio::time::timeout(within, self.answers.recv()).await {
                Ok(Some(Answer::Working)) => within = patience,
                Ok(Some(answer)) => return answer,
                Ok(None) | Err(_) => return Answer::Gone,
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.calls.waiting.lock().remove(&self.number);
    }
}
