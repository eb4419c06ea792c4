//! Which pages may connect: the check of `Origin`, as Phoenix's `check_origin` does it.
//!
//! A pure function of the policy, the header and the request; it never looks anything up.

use std::fmt;

/// Which `Origin` headers are accepted. A request without one is no browser's and always passes.
///
/// Under every policy but [`OriginPolicy::Off`] an origin without a host (`null`, `file://`) is refused.
/// Hosts and schemes are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Every origin.
    Off,
    /// The origin's host is the one of the request's `Host` header; scheme and port are ignored.
    ///
    /// The default: what Phoenix does with the public host of its endpoint, without naming it. It holds
    /// behind a proxy that ends TLS (where the scheme differs) as long as the proxy passes `Host` on.
    RequestHost,
    /// The origin's host is this one; scheme and port are ignored.
    Host(String),
    /// The origin's scheme, host and port are those of the request as the node sees it.
    SameConnection,
    /// The origin matches one of these.
    List(Vec<OriginPattern>),
}

/// One allowed origin: `//host`, with a scheme, a port, or a leading `*.` where wanted.
///
/// `https://a.example` means port 443 as well; `//a.example` any scheme and port; `*.example.com`
/// matches `a.example.com`, `a.b.example.com` and `example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: Option<String>,
    subdomains: bool,
    host: String,
    port: Option<u16>,
}

/// The request as the node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestOrigin {
    /// `http` or `https`.
    pub scheme: String,
    /// The host of the `Host` header, without the port.
    pub host: String,
    /// The port of the `Host` header, or the scheme's default.
    pub port: u16,
}

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginError {
    /// The part that is wrong.
    pub text: String,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an origin such as //example.com", self.text)
    }
}

impl std::error::Error for OriginError {}

impl OriginPolicy {
    /// Reads a policy: `off`, `host`, `host:NAME`, `connection`, or origins separated by commas.
    ///
    /// # Errors
    /// [`OriginError`] with the part that is none of these.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        match text.trim() {
            "off" => Ok(Self::Off),
            "host" => Ok(Self::RequestHost),
            "connection" => Ok(Self::SameConnection),
            other => match other.strip_prefix("host:") {
                Some(host) => match Address::parse(&format!("//{host}")) {
                    Some(Address {
                        host, port: None, ..
                    }) => Ok(Self::Host(host)),
                    Some(_) | None => Err(OriginError {
                        text: other.to_owned(),
                    }),
                },
                None => {
                    let patterns = other.split(',').map(|one| OriginPattern::parse(one.trim()));
                    patterns.collect::<Result<_, _>>().map(Self::List)
                }
            },
        }
    }

    /// Says whether a request with this `Origin` header may connect.
    pub fn allows(&self, origin: Option<&str>, request: &RequestOrigin) -> bool {
        let Some(origin) = origin else { return true };
        if *self == Self::Off {
            return true;
        }
        let Some(origin) = Address::parse(origin) else {
            return false;
        };
        match self {
            Self::Off => true,
            Self::RequestHost => origin.host == bare(&request.host),
            Self::Host(host) => origin.host == bare(host),
            Self::SameConnection => {
                origin.scheme.as_deref() == Some(web_scheme(&request.scheme.to_ascii_lowercase()))
                    && origin.host == bare(&request.host)
                    && origin.port == Some(request.port)
            }
            Self::List(patterns) => patterns.iter().any(|pattern| pattern.matches(&origin)),
        }
    }
}

impl OriginPattern {
    /// Reads one origin.
    ///
    /// # Errors
    /// [`OriginError`] for a text without `//host`, with a path, or with a `*` elsewhere than at the start.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (head, tail) = match text.split_once("//*.") {
            Some((scheme, rest)) => (Some(scheme), format!("{scheme}//{rest}")),
            None => (None, text.to_owned()),
        };
        match Address::parse(&tail) {
            Some(address) => Ok(Self {
                scheme: address.scheme,
                subdomains: head.is_some(),
                host: address.host,
                port: address.port,
            }),
            None => Err(OriginError {
                text: text.to_owned(),
            }),
        }
    }

    fn matches(&self, origin: &Address) -> bool {
        let under = |host: &str| {
            host.strip_suffix(&self.host)
                .is_some_and(|subdomain| subdomain.ends_with('.'))
        };
        (self.scheme.is_none() || self.scheme == origin.scheme)
            && (self.port.is_none() || self.port == origin.port)
            && (self.host == origin.host || (self.subdomains && under(&origin.host)))
    }
}

impl RequestOrigin {
    /// Reads a `Host` header (RFC 9110, 7.2); `None` when it names no host.
    pub fn of_host_header(tls: bool, host: &str) -> Option<Self> {
        let scheme = if tls { "https" } else { "http" };
        let address = Address::parse(&format!("{scheme}://{host}"))?;
        Some(Self {
            scheme: scheme.to_owned(),
            host: address.host,
            port: address.port?,
        })
    }
}

/// An origin taken apart: lower case, IPv6 without brackets, the port of the scheme when none is written.
struct Address {
    scheme: Option<String>,
    host: String,
    port: Option<u16>,
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = match text.strip_prefix("//") {
            Some(authority) => (None, authority),
            None => {
                let (scheme, authority) = text.split_once("://")?;
                (Some(scheme.to_ascii_lowercase()), authority)
            }
        };
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme
            .as_deref()
            .is_some_and(|name| name.is_empty() || !name.chars().all(named))
        {
            return None;
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest
                .split_once(']')
                .map(|(host, port)| (host, port.strip_prefix(':')))?,
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        // Anything else (a path, a user, white space) is not in an origin, and may be there to mislead.
        let v6 = authority.starts_with('[');
        let plain = |c: char| match v6 {
            true => c.is_ascii_hexdigit() || matches!(c, ':' | '.'),
            false => c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'),
        };
        let whole = authority.len()
            == host.len() + port.map_or(0, |port| port.len() + 1) + if v6 { 2 } else { 0 };
        if host.is_empty() || !whole || !host.chars().all(plain) {
            return None;
        }
        let port = match port {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
            None => scheme.as_deref().and_then(default_port),
        };
        Some(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match web_scheme(scheme) {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// A WebSocket's scheme is that of the request that opens it.
fn web_scheme(scheme: &str) -> &str {
    match scheme {
        "ws" => "http",
        "wss" => "https",
        other => other,
    }
}

/// A host in the form in which hosts are compared.
fn bare(host: &str) -> String {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request to `http://example.com:4000`.
    fn request() -> RequestOrigin {
        RequestOrigin::of_host_header(false, "example.com:4000").unwrap()
    }

    fn check(policy: &str, origin: Option<&str>, allowed: bool) {
        let parsed = OriginPolicy::parse(policy).unwrap();
        assert_eq!(
            parsed.allows(origin, &request()),
            allowed,
            "{policy} {origin:?}"
        );
    }

    fn allowed(policy: &str, origin: &str) {
        check(policy, Some(origin), true);
    }

    fn refused(policy: &str, origin: &str) {
        check(policy, Some(origin), false);
    }

    const POLICIES: [&str; 5] = [
        "off",
        "host",
        "host:example.com",
        "connection",
        "//example.com",
    ];

    #[test]
    fn no_origin_is_no_browser_and_passes() {
        for policy in POLICIES {
            check(policy, None, true);
        }
    }

    #[test]
    fn origins_without_a_host_pass_only_when_the_check_is_off() {
        for origin in [
            "null",
            "",
            "file://",
            "file:///",
            "example.com",
            "://example.com",
            "http:example.com",
        ] {
            for policy in POLICIES {
                check(policy, Some(origin), policy == "off");
            }
        }
    }

    #[test]
    fn what_is_not_an_origin_is_refused() {
        for origin in [
            "http://example.com@evil.example",
            "http://evil.example\\.example.com",
            "http://evil.example/example.com",
            "http://evil.example#example.com",
            "http://example.com/",
            "http://example.com:port",
            "http://example.com:99999",
            "http://example.com:80:80",
            "http://example.com ",
            "http://[::1]x",
            "http://exämple.com",
        ] {
            refused("host", origin);
            refused("//example.com,//*.example.com", origin);
        }
    }

    #[test]
    fn the_host_policies_ignore_scheme_and_port() {
        for policy in ["host", "host:example.com", "host:EXAMPLE.com"] {
            allowed(policy, "http://example.com");
            allowed(policy, "https://example.com");
            allowed(policy, "https://Example.COM:8443");
            refused(policy, "http://other.com");
            refused(policy, "http://a.example.com");
            refused(policy, "http://example.com.evil.com");
        }
        refused("host:public.com", "http://example.com");
        allowed("host:public.com", "http://public.com");
    }

    #[test]
    fn the_connection_policy_compares_scheme_host_and_port() {
        allowed("connection", "http://example.com:4000");
        refused("connection", "https://example.com:4000");
        refused("connection", "http://example.com");
        refused("connection", "http://other.com:4000");
        refused("connection", "//example.com:4000");
        let tls = RequestOrigin::of_host_header(true, "Example.com").unwrap();
        let policy = OriginPolicy::SameConnection;
        assert!(policy.allows(Some("https://example.com"), &tls));
        assert!(policy.allows(Some("https://example.com:443"), &tls));
        assert!(!policy.allows(Some("http://example.com"), &tls));
        let socket = RequestOrigin {
            scheme: "wss".into(),
            ..tls
        };
        assert!(policy.allows(Some("https://example.com"), &socket));
    }

    #[test]
    fn listed_origins_match_the_parts_that_they_name() {
        let list =
            "//example.com, http://scheme.com, //port.com:81, http://both.com:8000, ionic://app";
        allowed(list, "http://example.com");
        allowed(list, "https://example.com:8443");
        refused(list, "http://sub.example.com");
        allowed(list, "http://scheme.com");
        allowed(list, "http://scheme.com:80");
        refused(list, "http://scheme.com:81");
        refused(list, "https://scheme.com");
        allowed(list, "https://port.com:81");
        allowed(list, "http://port.com:81");
        refused(list, "http://port.com");
        allowed(list, "http://both.com:8000");
        refused(list, "http://both.com");
        allowed(list, "ionic://app");
        refused(list, "http://app");
        refused(list, "http://unlisted.com");
    }

    #[test]
    fn a_wildcard_matches_subdomains_and_the_domain_itself() {
        allowed("//*.ex.com", "http://a.ex.com");
        allowed("//*.ex.com", "https://a.b.ex.com:8443");
        allowed("//*.ex.com", "http://ex.com");
        refused("//*.ex.com", "http://prefix-ex.com");
        refused("//*.ex.com", "http://ex.com.evil.com");
        refused("//*.ex.com", "http://com");
        allowed("https://*.ex.com:444", "https://a.ex.com:444");
        refused("https://*.ex.com:444", "https://a.ex.com");
    }

    #[test]
    fn addresses_of_ipv6_are_compared_without_brackets() {
        let v6 = RequestOrigin::of_host_header(false, "[::1]:4000").unwrap();
        assert_eq!((v6.host.as_str(), v6.port), ("::1", 4000));
        assert!(OriginPolicy::SameConnection.allows(Some("http://[::1]:4000"), &v6));
        assert!(OriginPolicy::RequestHost.allows(Some("http://[::1]"), &v6));
        assert!(!OriginPolicy::RequestHost.allows(Some("http://[::2]"), &v6));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_the_part_that_is_wrong() {
        for (policy, part) in [
            ("", ""),
            ("on", "on"),
            ("example.com", "example.com"),
            ("//good.com,bad.com", "bad.com"),
            ("//*", "//*"),
            ("//a.*.com", "//a.*.com"),
            ("*.com", "*.com"),
            ("http://a.com/path", "http://a.com/path"),
            ("//a.com:x", "//a.com:x"),
            ("host:", "host:"),
            ("host:a.com:80", "host:a.com:80"),
        ] {
            let error = OriginPolicy::parse(policy).unwrap_err();
            assert_eq!(error.text, part, "{policy}");
        }
    }

    #[test]
    fn a_host_header_without_a_host_is_refused() {
        for header in ["", ":80", "a b", "a/b", "a@b"] {
            assert_eq!(
                RequestOrigin::of_host_header(false, header),
                None,
                "{header}"
            );
        }
    }
}
