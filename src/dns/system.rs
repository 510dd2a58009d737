//! The system's way to resolve: its name servers, search domains and hosts file.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;

use super::Lookup;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// Asks as the system is configured to, and goes on by what was read last where that can no longer be read. As long as
/// nothing could, every lookup fails and says so.
#[derive(Clone)]
pub struct System {
    resolv_conf: Arc<Path>,
    read: Arc<Mutex<Read>>,
}

/// What was read last, and when that had changed.
struct Read {
    resolver: Result<Arc<TokioResolver>, String>,
    changed: Changed,
}

/// When each file was last written; `None` if it is not there.
type Changed = [Option<SystemTime>; 2];

impl System {
    /// Reads the configuration, now and again before a lookup if it has changed.
    pub fn read() -> Self {
        Self::at(Path::new(RESOLV_CONF))
    }

    fn at(resolv_conf: &Path) -> Self {
        // Before it is read: what changes meanwhile is read again.
        let changed = changed(resolv_conf);
        let resolver = build(resolv_conf);
        Self {
            resolv_conf: resolv_conf.into(),
            read: Arc::new(Mutex::new(Read { resolver, changed })),
        }
    }

    fn resolver(&self) -> Result<Arc<TokioResolver>, String> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = changed(&self.resolv_conf);
        if changed != read.changed {
            read.changed = changed;
            match build(&self.resolv_conf) {
                Err(error) if read.resolver.is_ok() => {
                    tracing::warn!(
                        error,
                        "cannot read resolv.conf; what was read last stays in force"
                    );
                }
                resolver => read.resolver = resolver,
            }
        }
        read.resolver.clone()
    }
}

fn changed(resolv_conf: &Path) -> Changed {
    [resolv_conf, Path::new(HOSTS)].map(|file| file.metadata().and_then(|it| it.modified()).ok())
}

fn build(resolv_conf: &Path) -> Result<Arc<TokioResolver>, String> {
    let text = std::fs::read(resolv_conf)
        .map_err(|error| format!("{}: {error}", resolv_conf.display()))?;
    let parsed = parse_resolv_conf(text).map_err(|error| error.to_string());
    let (config, mut options) = parsed?;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Asked for again when it has expired, so there is nothing to keep.
    options.cache_size = 0;
    let provider = TokioRuntimeProvider::default();
    let mut builder = TokioResolver::builder_with_config(config, provider);
    *builder.options_mut() = options;
    let built = builder.build().map_err(|error| error.to_string());
    built.map(Arc::new)
}

impl Lookup for System {
    async fn lookup(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), String> {
        let resolver = self.resolver()?;
        let answer = resolver.lookup_ip(host).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let holds = answer
            .valid_until()
            .saturating_duration_since(Instant::now());
        Ok((answer.iter().collect(), holds))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn the_configuration_is_read_again_once_it_has_changed_and_kept_where_it_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        let write = |text: &str, second: u64| {
            let mut file = File::create(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            file.set_modified(written).unwrap();
        };
        let system = System::at(&path);
        assert!(system.resolver().is_err(), "there is none");
        write("nameserver 127.0.0.1\n", 1);
        let first = system.resolver().unwrap();
        assert!(Arc::ptr_eq(&first, &system.resolver().unwrap()));
        write("nameserver 127.0.0.2\noptions attempts:7\n", 2);
        let second = system.resolver().unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(second.options().attempts, 7);
        write("", 3);
        assert!(Arc::ptr_eq(&second, &system.resolver().unwrap()));
        std::fs::remove_file(&path).unwrap();
        assert!(Arc::ptr_eq(&second, &system.resolver().unwrap()));
        write("nameserver 127.0.0.1\n", 4);
        let last = system.resolver().unwrap();
        assert!(!Arc::ptr_eq(&second, &last));
    }
}
