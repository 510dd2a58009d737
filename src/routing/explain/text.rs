//! The explanation as people read it.

use std::fmt;

use super::{BackendChances, Explanation, Judged, Question};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Question {
            method,
            scheme,
            host,
            path,
            client,
            headers: _,
        } = &self.request;
        write!(f, "{method} {}://{host}{path}", scheme.name())?;
        if let Some(client) = client {
            write!(f, " from {client}")?;
        }
        writeln!(f, " at revision {}", self.revision)?;
        writeln!(f, "{}", self.verdict)?;
        if let Some(Judged { route, why }) = &self.route {
            writeln!(f, "\nroute {route}: {why}")?;
        }
        for sentence in &self.does {
            writeln!(f, "  {sentence}")?;
        }
        for pool in &self.pools {
            let balance = pool.balance.name();
            writeln!(
                f,
                "\npool {} ({balance}), {}% of the route",
                pool.pool, pool.share
            )?;
            for backend in &pool.backends {
                let mark = if backend.eligible { '+' } else { '-' };
                let BackendChances {
                    id,
                    address,
                    weight,
                    share,
                    in_flight,
                    why,
                    ..
                } = backend;
                writeln!(
                    f,
                    "  {mark} {id} {address}  weight {weight}, {share}%, {in_flight} in flight; {why}"
                )?;
            }
        }
        for (title, routes) in [
            ("also matched", &self.outranked),
            ("did not match", &self.missed),
        ] {
            if !routes.is_empty() {
                writeln!(f, "\n{title}:")?;
            }
            for Judged { route, why } in routes {
                writeln!(f, "  {route}: {why}")?;
            }
        }
        match self.others {
            0 => Ok(()),
            1 => writeln!(f, "\n1 other route is not listed"),
            many => writeln!(f, "\n{many} other routes are not listed"),
        }
    }
}
