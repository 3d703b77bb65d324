//! Where a domain's servers are: the operator's list, else SRV records for both kinds of TLS (RFC 6120 §3.2, XEP-0368 §2),
//! else the domain itself at port 5269.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver};

use crate::config::{KnownHost, ServersConfig};
use crate::error::GateError;

/// Where servers are by custom (RFC 6120 §3.2.2).
const PORT: u16 = 5269;
/// Targets of one domain that are tried; a domain that lists more is none the worse for it.
const MOST_TARGETS: usize = 8;
/// Addresses of one target that are tried.
const MOST_ADDRESSES: usize = 4;

/// A server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) direct_tls: bool,
}

/// Why nothing is known of a domain's servers.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    /// The domain does not exist, or says that it has no server.
    #[error("the domain has no server")]
    NotFound,
    /// The name servers did not answer; they may later.
    #[error("the name servers do not answer: {0}")]
    Unanswered(#[from] NetError),
}

/// See the module comment.
pub(super) struct Lookup {
    known: Vec<KnownHost>,
    dns: TokioResolver,
}

impl Lookup {
    /// Reads the system's settings unless name servers are configured.
    ///
    /// # Errors
    /// There are no name servers to ask.
    pub(super) fn new(config: &ServersConfig) -> Result<Lookup, GateError> {
        let dns = resolver(&config.nameservers).map_err(|error| GateError::Unusable {
            file: "/etc/resolv.conf".into(),
            reason: error.to_string(),
        })?;
        let known = config.hosts.clone();
        Ok(Lookup { known, dns })
    }

    /// The servers of `domain` in the order in which they are to be tried; `dice` gives random numbers.
    pub(super) async fn targets(
        &self,
        domain: &str,
        dice: &mut (dyn FnMut() -> u32 + Send),
    ) -> Result<Vec<Target>, ResolveError> {
        let known = self.known.iter().filter(|host| host.domain == domain);
        let known: Vec<Target> = known.map(Target::from).collect();
        if !known.is_empty() {
            return Ok(known);
        }
        if domain.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return Ok(vec![Target::at(domain)]);
        }
        let ascii = idna::domain_to_ascii(domain).map_err(|_| ResolveError::NotFound)?;
        let direct = self.services(format!("_xmpps-server._tcp.{ascii}."), true);
        let plain = self.services(format!("_xmpp-server._tcp.{ascii}."), false);
        let (direct, plain) = tokio::join!(direct, plain);
        let mut services = match (direct, plain) {
            (Err(error), Err(_)) => return Err(error.into()),
            (direct, plain) => {
                let mut both = direct.unwrap_or_default();
                both.extend(plain.unwrap_or_default());
                both
            }
        };
        if services.is_empty() {
            return Ok(vec![Target::at(&ascii)]);
        }
        // RFC 2782: "." says that there is no such service.
        services.retain(|service| !service.target.host.is_empty());
        if services.is_empty() {
            return Err(ResolveError::NotFound);
        }
        let mut targets = in_order(services, dice);
        targets.truncate(MOST_TARGETS);
        Ok(targets)
    }

    /// The addresses of a target, IPv6 and IPv4 by turns.
    pub(super) async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, ResolveError> {
        let host = target.host.trim_matches(['[', ']']);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, target.port)]);
        }
        let found = self
            .dns
            .lookup_ip(absolute(host))
            .await
            .map_err(not_found)?;
        let (new, old): (Vec<IpAddr>, Vec<IpAddr>) = found.iter().partition(|ip| ip.is_ipv6());
        let mut both = Vec::new();
        for place in 0..new.len().max(old.len()) {
            both.extend(new.get(place).into_iter().chain(old.get(place)));
        }
        let addresses = both.into_iter().take(MOST_ADDRESSES);
        Ok(addresses
            .map(|ip| SocketAddr::new(ip, target.port))
            .collect())
    }

    async fn services(&self, name: String, direct_tls: bool) -> Result<Vec<Service>, NetError> {
        let found = match self.dns.srv_lookup(name).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let records = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(srv),
                _ => None,
            });
        let services = records.map(|srv| Service {
            priority: srv.priority,
            weight: srv.weight,
            target: Target {
                host: srv.target.to_ascii().trim_end_matches('.').to_owned(),
                port: srv.port,
                direct_tls,
            },
        });
        Ok(services.collect())
    }
}

fn absolute(host: &str) -> String {
    // Else the system's search list would be tried, too.
    format!("{}.", host.trim_end_matches('.'))
}

fn not_found(error: NetError) -> ResolveError {
    match error.is_no_records_found() {
        true => ResolveError::NotFound,
        false => ResolveError::Unanswered(error),
    }
}

fn resolver(nameservers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    if nameservers.is_empty() {
        return Resolver::builder_tokio()?.build();
    }
    let servers = nameservers.iter().map(|address| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        for connection in &mut server.connections {
            connection.port = address.port();
        }
        server
    });
    let config = ResolverConfig::from_name_servers(servers.collect());
    Resolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
}

impl Target {
    fn at(host: &str) -> Target {
        Target {
            host: host.to_owned(),
            port: PORT,
            direct_tls: false,
        }
    }
}

impl From<&KnownHost> for Target {
    fn from(known: &KnownHost) -> Target {
        Target {
            host: known.host.clone(),
            port: known.port,
            direct_tls: known.direct_tls,
        }
    }
}

struct Service {
    priority: u16,
    weight: u16,
    target: Target,
}

/// RFC 2782: by priority; among equals by chance, as their weights say. XEP-0368 §2: both kinds of TLS together.
fn in_order(mut services: Vec<Service>, dice: &mut (dyn FnMut() -> u32 + Send)) -> Vec<Target> {
    let mut ordered = Vec::with_capacity(services.len());
    // Those without a weight first, so that they have a small chance.
    services.sort_by_key(|service| (service.priority, service.weight));
    while let Some(priority) = services.first().map(|service| service.priority) {
        let equals = services.iter().take_while(|it| it.priority == priority);
        let total: u32 = equals.map(|it| u32::from(it.weight)).sum();
        let mut left = dice() % (total + 1);
        let chosen = services.iter().position(|it| {
            let weight = u32::from(it.weight);
            let is_it = left <= weight;
            left = left.saturating_sub(weight);
            is_it
        });
        ordered.push(services.remove(chosen.unwrap_or(0)).target);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, host: &str) -> Service {
        let target = Target::at(host);
        Service {
            priority,
            weight,
            target,
        }
    }

    fn order(dice: u32) -> String {
        let services = vec![
            service(20, 5, "d"),
            service(10, 30, "c"),
            service(10, 0, "a"),
            service(10, 10, "b"),
        ];
        let targets = in_order(services, &mut || dice);
        targets.into_iter().map(|target| target.host).collect()
    }

    #[test]
    fn targets_come_by_priority_and_among_equals_by_weight() {
        assert_eq!(order(0), "abcd");
        assert_eq!(order(10), "bcad");
        assert_eq!(order(40), "cbad");
        // Every target comes once, whatever the dice say.
        for dice in 0..100 {
            let mut hosts: Vec<char> = order(dice).chars().collect();
            assert_eq!(hosts.pop(), Some('d'));
            hosts.sort_unstable();
            assert_eq!(hosts, ['a', 'b', 'c']);
        }
    }

    fn lookup(hosts: Vec<KnownHost>) -> Lookup {
        let config = ServersConfig {
            hosts,
            // Nobody answers there.
            nameservers: vec!["127.0.0.1:9".parse().unwrap()],
            ..ServersConfig::default()
        };
        Lookup::new(&config).unwrap()
    }

    #[tokio::test]
    async fn a_known_host_is_not_looked_up_and_addresses_speak_for_themselves() {
        let known = KnownHost {
            domain: "capulet.example".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 5270,
            direct_tls: true,
        };
        let lookup = lookup(vec![known]);
        let targets = lookup.targets("capulet.example", &mut || 0).await.unwrap();
        assert!(targets[0].direct_tls);
        let addresses = lookup.addresses(&targets[0]).await.unwrap();
        assert_eq!(addresses, ["127.0.0.1:5270".parse().unwrap()]);
        let targets = lookup.targets("[::1]", &mut || 0).await.unwrap();
        let addresses = lookup.addresses(&targets[0]).await.unwrap();
        assert_eq!(addresses, ["[::1]:5269".parse().unwrap()]);
    }
}
