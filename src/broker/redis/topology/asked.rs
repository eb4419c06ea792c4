//! Asking a sentinel or a server of a cluster where everything is.
//!
//! It reads what it understands and skips the rest; a host that is not said is the one that was asked.

use hashbrown::HashMap;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, Value, from_redis_value};

use super::slots::SLOTS;
use super::view::{Range, View};

/// Asks a sentinel for the master of a name.
pub(super) async fn sentinel(
    connection: &mut MultiplexedConnection,
    master: &str,
) -> Result<View, RedisError> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("MASTER").arg(master);
    let fields: std::collections::HashMap<String, String> = command.query_async(connection).await?;
    let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok());
    let port = number("port").and_then(|port| u16::try_from(port).ok());
    let (Some(host), Some(port)) = (fields.get("ip"), port) else {
        return Err(strange());
    };
    let count = |name: &str| usize::try_from(number(name).unwrap_or_default()).unwrap_or_default();
    Ok(View {
        epoch: number("config-epoch").unwrap_or_default(),
        ranges: vec![Range {
            from: 0,
            to: SLOTS - 1,
            owner: (host.clone(), port),
        }],
        replicas: count("num-slaves"),
        watchers: count("num-other-sentinels") + 1,
    })
}

/// Asks a server of a cluster who has which slots.
pub(super) async fn cluster(
    connection: &mut MultiplexedConnection,
    asked: &ConnectionInfo,
) -> Result<View, RedisError> {
    let mut both = redis::pipe();
    both.cmd("CLUSTER").arg("INFO");
    both.cmd("CLUSTER").arg("SLOTS");
    let (info, slots): (String, Vec<Value>) = both.query_async(connection).await?;
    let host = match asked.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.as_str(),
        _ => "",
    };
    read(&info, &slots, host).ok_or_else(strange)
}

fn read(info: &str, slots: &[Value], asked: &str) -> Option<View> {
    let epoch = info
        .lines()
        .find_map(|line| line.strip_prefix("cluster_current_epoch:"));
    let (mut ranges, mut replicas) = (Vec::new(), HashMap::new());
    for range in slots {
        let Value::Array(fields) = range else {
            return None;
        };
        let [from, to, owner, others @ ..] = &fields[..] else {
            return None;
        };
        ranges.push(Range {
            from: number(from)?,
            to: number(to)?,
            owner: server(owner, asked)?,
        });
        replicas.extend(
            others
                .iter()
                .filter_map(|one| Some((server(one, asked)?, ()))),
        );
    }
    ranges.sort_by_key(|range| range.from);
    Some(View {
        epoch: epoch?.trim().parse().ok()?,
        ranges,
        replicas: replicas.len(),
        watchers: 0,
    })
}

fn number(value: &Value) -> Option<u16> {
    from_redis_value(value.clone()).ok()
}

fn server(value: &Value, asked: &str) -> Option<(String, u16)> {
    let Value::Array(fields) = value else {
        return None;
    };
    let host: Option<String> = from_redis_value(fields.first()?.clone()).ok()?;
    // What Redis does not know it leaves out, and `?` is a host name that it was told to say and not given.
    let host = host.filter(|host| !host.is_empty() && host != "?");
    Some((
        host.unwrap_or_else(|| asked.to_owned()),
        number(fields.get(1)?)?,
    ))
}

fn strange() -> RedisError {
    RedisError::from((
        ErrorKind::UnexpectedReturnType,
        "an answer that makes no sense",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: Option<&str>, port: i64) -> Value {
        let host = host.map_or(Value::Nil, |host| Value::BulkString(host.into()));
        Value::Array(vec![host, Value::Int(port), Value::BulkString("id".into())])
    }

    #[test]
    fn slots_are_read_with_hosts_that_are_not_said() {
        let slots = [
            Value::Array(vec![Value::Int(10), Value::Int(19), server(None, 2)]),
            Value::Array(vec![
                Value::Int(0),
                Value::Int(9),
                server(Some("a"), 1),
                server(Some("b"), 3),
                server(Some("c"), 3),
            ]),
        ];
        let view = read("x:1\r\ncluster_current_epoch:7\r\n", &slots, "h").unwrap();
        assert_eq!((view.epoch, view.replicas), (7, 2));
        assert_eq!(view.owner(9), Some(&("a".into(), 1)));
        assert_eq!(view.owner(10), Some(&("h".into(), 2)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let odd = Value::Array(vec![Value::Int(1)]);
        assert_eq!(read("cluster_current_epoch:7", &[odd], "h"), None);
        assert_eq!(read("", &[], "h"), None);
    }
}
