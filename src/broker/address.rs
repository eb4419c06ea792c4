//! Where Redis or Valkey is, as the URL says: one server, one behind sentinels, or a cluster.
//!
//! It connects to nothing, and its errors never show the URL.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use url::{Url, form_urlencoded};

/// What a URL may look like, for error messages.
const FORMS: &str = "must be redis://HOST[:PORT][/DB], rediss://… (TLS), unix:///PATH, \
    redis+sentinel://HOST[:PORT],…/MASTER[/DB] or redis+cluster://HOST[:PORT],…; valkey in place of redis is the same";
const SERVER_PORT: u16 = 6_379;
const SENTINEL_PORT: u16 = 26_379;
/// Servers that one URL may name.
const SERVERS_MAX: usize = 64;

/// How the server of a topic is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// There is one, at a fixed place.
    Server,
    /// Sentinels say where the master of this name is.
    Sentinel(String),
    /// The servers of a cluster say who has which slot.
    Cluster,
}

/// A URL that was read.
#[derive(Clone)]
pub struct Address {
    /// How the server is found.
    pub kind: Kind,
    /// The server itself, the sentinels with their own login, or some servers of the cluster; at least one.
    pub servers: Vec<ConnectionInfo>,
    /// The login and the database at the server.
    pub login: RedisConnectionInfo,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self
            .servers
            .iter()
            .map(|one| one.addr().to_string())
            .collect();
        let mut shown = f.debug_struct("Address");
        shown.field("kind", &self.kind).field("servers", &servers);
        shown.finish_non_exhaustive()
    }
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// What a URL must look like, without showing this one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or(FORMS)?;
        match scheme {
            "redis+sentinel" | "valkey+sentinel" => Self::sentinel("redis", rest),
            "rediss+sentinel" | "valkeys+sentinel" => Self::sentinel("rediss", rest),
            "redis+cluster" | "valkey+cluster" => Self::cluster("redis", rest),
            "rediss+cluster" | "valkeys+cluster" => Self::cluster("rediss", rest),
            _ => Self::server(text),
        }
    }

    fn server(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| FORMS)?;
        let usable = match url.scheme() {
            "redis" | "rediss" | "valkey" | "valkeys" => url.has_host(),
            "unix" | "redis+unix" | "valkey+unix" => url.path().len() > 1,
            _ => false,
        };
        let info = usable.then(|| url.into_connection_info()).ok_or(FORMS)?;
        let info = info.map_err(|cause| format!("cannot be used: {cause}"))?;
        Ok(Self {
            kind: Kind::Server,
            login: info.redis_settings().clone(),
            servers: vec![info],
        })
    }

    fn cluster(scheme: &str, rest: &str) -> Result<Self, String> {
        let Several {
            servers,
            path,
            query,
        } = several(scheme, rest, SERVER_PORT)?;
        if !matches!(path, "" | "0") || !query.is_empty() {
            return Err("must end after the servers: a cluster has but one database".into());
        }
        Ok(Self {
            kind: Kind::Cluster,
            login: servers[0].redis_settings().clone(),
            servers,
        })
    }

    fn sentinel(scheme: &str, rest: &str) -> Result<Self, String> {
        let Several {
            servers,
            path,
            query,
        } = several(scheme, rest, SENTINEL_PORT)?;
        let (master, db) = path.split_once('/').unwrap_or((path, "0"));
        if master.is_empty() {
            return Err("must name the master: redis+sentinel://HOST[:PORT],…/MASTER[/DB]".into());
        }
        let db = db.parse();
        let db =
            db.map_err(|_| "must have the number of a database after the master, or nothing")?;
        let mut own = RedisConnectionInfo::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            own = match &*key {
                "sentinel_user" => own.set_username(&value),
                "sentinel_password" => own.set_password(&value),
                _ => return Err("may have sentinel_user and sentinel_password after the ?".into()),
            };
        }
        let login = servers[0].redis_settings().clone().set_db(db);
        let with_own = |server: ConnectionInfo| server.set_redis_settings(own.clone());
        Ok(Self {
            kind: Kind::Sentinel(master.to_owned()),
            servers: servers.into_iter().map(with_own).collect(),
            login,
        })
    }

    /// Returns how a server that was found later is reached: as the ones of the URL, with its login.
    pub fn at(&self, host: &str, port: u16) -> ConnectionInfo {
        let host = host.to_owned();
        let known = self.servers[0].clone();
        let addr = match known.addr() {
            ConnectionAddr::TcpTls {
                insecure,
                tls_params,
                ..
            } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        known.set_addr(addr).set_redis_settings(self.login.clone())
    }
}

/// The parts of a URL with several servers; at least one.
struct Several<'a> {
    servers: Vec<ConnectionInfo>,
    path: &'a str,
    query: &'a str,
}

fn several<'a>(scheme: &str, rest: &'a str, default_port: u16) -> Result<Several<'a>, String> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (format!("{login}@"), hosts),
        None => (String::new(), authority),
    };
    let server = |host: &str| {
        let mut url = Url::parse(&format!("{scheme}://{login}{host}")).map_err(|_| FORMS)?;
        if url.port().is_none() {
            url.set_port(Some(default_port)).map_err(|()| FORMS)?;
        }
        url.into_connection_info().map_err(|_| FORMS.to_owned())
    };
    let servers: Vec<_> = hosts
        .split(',')
        .map(server)
        .collect::<Result<_, String>>()?;
    if servers.len() > SERVERS_MAX {
        return Err(format!("must name at most {SERVERS_MAX} servers"));
    }
    Ok(Several {
        servers,
        path: path.trim_end_matches('/'),
        query,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was read: kind, servers with their login, and the login and database of the server.
    fn check(text: &str, expected: &str) {
        let said = match Address::parse(text) {
            Ok(address) => {
                let login = |one: &RedisConnectionInfo| {
                    let user = one.username().unwrap_or_default();
                    format!("{user}:{}/{}", one.password().unwrap_or_default(), one.db())
                };
                let server = |one: &ConnectionInfo| {
                    format!("{} {}", one.addr(), login(one.redis_settings()))
                };
                let servers: Vec<String> = address.servers.iter().map(server).collect();
                let tls = matches!(address.servers[0].addr(), ConnectionAddr::TcpTls { .. });
                let tls = if tls { " tls" } else { "" };
                format!(
                    "{:?}{tls} [{}] {}",
                    address.kind,
                    servers.join(", "),
                    login(&address.login)
                )
            }
            Err(why) => why,
        };
        assert!(said.starts_with(expected), "{text}: {said}");
        assert!(!said.contains("FORMS") && !said.contains('\n'));
    }

    #[test]
    fn every_form_of_url_is_read() {
        check("redis://h", "Server [h:6379 :/0] :/0");
        check("valkey://h:1/2", "Server [h:1 :/2] :/2");
        check("valkeys://u:p%40@h", "Server tls [h:6379 u:p@/0] u:p@/0");
        check("unix:///run/r.sock", "Server [/run/r.sock :/0] :/0");
        check(
            "redis+sentinel://u:p@a,b:7/m",
            r#"Sentinel("m") [a:26379 :/0, b:7 :/0] u:p/0"#,
        );
        check(
            "valkeys+sentinel://a/m/3/?sentinel_user=s&sentinel_password=q%26",
            r#"Sentinel("m") tls [a:26379 s:q&/0] :/3"#,
        );
        check(
            "redis+cluster://:p@a,[::1]:7",
            "Cluster [a:6379 :p/0, ::1:7 :p/0] :p/0",
        );
        check("rediss+cluster://a/", "Cluster tls [a:6379 :/0] :/0");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_url() {
        for bad in [
            "",
            "h:6379",
            "http://h",
            "redis://",
            "redis:h",
            "unix://",
            "redis+sentinel://",
            "redis+cluster://a,",
            "redis+cluster://a:port",
            "redis+magic://a",
        ] {
            check(bad, "must be redis://");
        }
        check("redis+sentinel://:sesame@a", "must name the master");
        check("redis+sentinel://a/m/first", "must have the number");
        check(
            "redis+sentinel://a/m?password=sesame",
            "may have sentinel_user",
        );
        check("redis+cluster://a/1", "must end after the servers");
        check(
            &format!("redis+cluster://{}a", "a,".repeat(64)),
            "must name at most 64",
        );
    }

    #[test]
    fn a_server_that_is_found_later_is_reached_as_the_others() {
        let address = Address::parse("rediss+sentinel://u:p@a/m/3").unwrap();
        let found = address.at("b", 7);
        assert_eq!(found.addr().to_string(), "b:7");
        assert!(matches!(found.addr(), ConnectionAddr::TcpTls { .. }));
        assert_eq!(found.redis_settings().password(), Some("p"));
        assert_eq!(found.redis_settings().db(), 3);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(scheme in 0usize..8, text: String) {
            let schemes = ["redis", "unix", "rediss", "redis+cluster", "valkeys+cluster", "redis+sentinel", "x", ""];
            if let Ok(address) = Address::parse(&format!("{}://{text}", schemes[scheme])) {
                proptest::prop_assert!(!address.servers.is_empty());
                address.at("h", 1);
            }
        }
    }

    #[test]
    fn the_debug_form_hides_the_password() {
        let address = Address::parse("redis+cluster://:sesame@a").unwrap();
        assert_eq!(
            format!("{address:?}"),
            r#"Address { kind: Cluster, servers: ["a:6379"], .. }"#
        );
    }
}
