//! A writer with its lanes, and the answers that it gave.
//!
//! It keeps what was submitted beside each answer.

use std::sync::Arc;

use fanfare::channel::NewRecord;
use fanfare::store::{Completion, Config, Full, Lane, Metrics, Outcome, Store, Writer};
use prometheus::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A writer under test: its lanes, its answers in the order in which they were given.
pub struct Bench {
    pub writer: Writer,
    pub lanes: Vec<Lane>,
    pub registry: Registry,
    pub answers: mpsc::UnboundedReceiver<(NewRecord, Outcome)>,
    pub answer: mpsc::UnboundedSender<(NewRecord, Outcome)>,
}

impl Bench {
    pub fn new(store: Arc<dyn Store>, config: &Config, lane_records: usize) -> Self {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).expect("registered");
        let (writer, lanes) = Writer::new(store, config, lane_records, metrics);
        let (answer, answers) = mpsc::unbounded_channel();
        Self {
            writer,
            lanes,
            registry,
            answers,
            answer,
        }
    }

    pub fn run(&mut self) -> Vec<JoinHandle<()>> {
        self.lanes
            .drain(..)
            .map(|lane| tokio::spawn(lane.run()))
            .collect()
    }

    pub fn submit(&self, record: NewRecord) -> Result<(), Full> {
        let (answer, of) = (self.answer.clone(), record.clone());
        let completion: Completion = Box::new(move |outcome| {
            answer.send((of, outcome)).expect("the test still listens");
        });
        self.writer.submit(record, completion)
    }

    pub async fn outcome(&mut self) -> Outcome {
        self.answers.recv().await.expect("an answer").1
    }

    pub fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families
            .iter()
            .find(|family| family.name() == name)
            .expect(name);
        let metric = &family.get_metric()[0];
        match family.get_field_type() {
            prometheus::proto::MetricType::COUNTER => metric.get_counter().get_value(),
            prometheus::proto::MetricType::GAUGE => metric.get_gauge().get_value(),
            prometheus::proto::MetricType::HISTOGRAM => {
                metric.get_histogram().get_sample_count() as f64
            }
            other => panic!("{name} is a {other:?}"),
        }
    }
}
