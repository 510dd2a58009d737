//! What holds of every config and every transaction.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::config::samples::{json_value, transaction};
use crate::config::*;

/// Every reference leads somewhere, and every name is the one it is filed under.
fn assert_sound(config: &Config) {
    for (name, pool) in config.pools.iter() {
        assert_eq!(*name, pool.spec.name);
        assert!(pool.created <= pool.revision && pool.revision <= config.revision);
        for backend in &pool.spec.backends {
            assert!(
                pool.part(&backend.id)
                    .is_some_and(|part| part <= pool.revision)
            );
        }
    }
    for (name, route) in config.routes.iter() {
        assert_eq!(*name, route.spec.name);
        assert!(
            route
                .spec
                .pools()
                .all(|pool| config.pools.contains_key(pool))
        );
        let mut policies = route.spec.policies.iter();
        assert!(policies.all(|policy| config.policies.contains_key(policy)));
    }
    for (name, policy) in config.policies.iter() {
        assert_eq!(*name, policy.spec.name);
        let mut pools = policy.spec.policy.pools();
        assert!(pools.all(|(_, pool)| config.pools.contains_key(pool)));
    }
}

proptest! {
    #[test]
    fn every_config_reached_is_sound_and_can_be_written_down_and_undone(
        transactions in vec(transaction(), 1..12),
    ) {
        let mut config = Config::default();
        for (i, transaction) in transactions.iter().enumerate() {
            let revision = Revision(i as u64 + 1);
            let Ok(next) = config.apply(revision, transaction) else { continue };
            let next = next.config;
            assert_sound(&next);

            let changes = diff(&config, &next);
            prop_assert_eq!(changes.is_empty(), next.same_content(&config));
            prop_assert_eq!(next == config, next.same_content(&config), "equal content is the same config");
            prop_assert_eq!(next.revision == revision, !changes.is_empty());

            let mut undo = Undo::new(&next);
            changes.into_iter().for_each(|change| undo.take_back(change));
            prop_assert!(undo.finish(config.revision).same_content(&config), "a diff leads back");

            let mut image = Vec::new();
            next.write_image(&mut image);
            prop_assert_eq!(Config::read_image(&image), Ok(next.clone()), "sums are of what is there");

            let read = spec::parse_config(&next.to_json()).expect("what is written is accepted");
            prop_assert!(read.same_content(&next));
            prop_assert_eq!(read.to_json(), next.to_json());
            config = next;
        }
    }

    #[test]
    fn a_transaction_is_the_same_after_being_written_and_read(transaction in transaction()) {
        let written = serde_json::from_str(&transaction.to_text()).expect("it is JSON");
        prop_assert_eq!(Transaction::from_json(written), Ok(transaction));
    }

    #[test]
    fn a_put_of_an_older_config_brings_its_content_back(transactions in vec(transaction(), 2..8)) {
        let mut configs = vec![Config::default()];
        for (i, transaction) in transactions.iter().enumerate() {
            let newest = configs.last().expect("never empty");
            configs.extend(newest.apply(Revision(i as u64 + 1), transaction).ok().map(|next| next.config));
        }
        let newest = configs.last().expect("never empty");
        for old in &configs {
            let put = Transaction::of(Operation::put(ResourcePath::Config, old.to_json()));
            let back = newest.apply(Revision(100), &put).expect("it was valid then, and nothing around it can break it");
            prop_assert!(back.config.same_content(old));
        }
    }

    #[test]
    fn no_json_makes_the_readers_panic(value in json_value(), path in 0..5usize) {
        let path = ["/config", "/pools/web", "/pools/web/backends/b1", "/routes/shop", "/policies/staff"][path];
        let path: ResourcePath = path.parse().expect("well formed");
        let web = Transaction::from_json(serde_json::json!([{"op": "put", "path": "/pools/web", "value": {}}]));
        let config = Config::default().apply(Revision(1), &web.expect("well formed")).expect("valid").config;
        for action in [Action::Put(value.clone()), Action::Patch(value.clone())] {
            let operation = Operation { path: path.clone(), expected: None, action };
            if let Ok(next) = config.apply(Revision(2), &Transaction::of(operation)) {
                assert_sound(&next.config);
            }
        }
        if let Ok(transaction) = Transaction::from_json(value) {
            let _ = config.apply(Revision(2), &transaction);
        }
    }
}
