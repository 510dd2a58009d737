use super::*;
use crate::config::Revision;
use crate::replication::tests::harness::{LONG, Nodes, pools, put, until};
use crate::replication::tests::leases::{keep, open};

fn inspected(nodes: &Nodes, name: &str) -> (Directory, Log) {
    let mut directory = inspect(&nodes.directory(name)).expect("a node's");
    let unread = Err("taken".to_owned());
    let log = std::mem::replace(&mut directory.log, unread);
    (directory, log.expect("a whole log"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_looked_at_is_told_and_not_changed() {
    let mut nodes = Nodes::started(&["a"]).await;
    put(&nodes.handle("a"), "web").await;
    nodes.stop("a").await;
    let bytes = || -> Vec<_> {
        let files = fs::read_dir(nodes.directory("a")).expect("it is there");
        let mut files: Vec<_> = files
            .map(|file| file.expect("it is there").path())
            .map(|path| (path.clone(), fs::read(path).expect("it is readable")))
            .collect();
        files.sort();
        files
    };
    let before = bytes();
    let (directory, log) = inspected(&nodes, "a");
    assert_eq!(
        (directory.identity.name.as_str(), directory.identity.id),
        ("a", Some(1))
    );
    assert_eq!(directory.identity.incarnation, 1);
    assert_eq!(log.damage, None);
    let lines: Vec<_> = log.lines(0).map(|line| (line.kind, line.what)).collect();
    let expected = [("barrier", ""), ("config", "test")];
    assert_eq!(lines, expected.map(|(kind, what)| (kind, what.to_owned())));
    assert_eq!((log.start, log.last), (1, 2));
    assert!(before == bytes(), "it was changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_group_goes_on_from_what_is_left_far_ahead() {
    let mut nodes = Nodes::started(&["a"]).await;
    let revision = put(&nodes.handle("a"), "web").await;
    let session = open(&nodes.handle("a"), "s").await;
    nodes.stop("a").await;
    let (old, log) = inspected(&nodes, "a");
    let (machine, _) = log.state().expect("it can be applied");

    let mut others = Nodes::new(&["b"]);
    let founded = refound(&others.directory("b"), "b", machine).expect("it is empty");
    assert_ne!(Some(&founded.cluster), old.identity.cluster.as_ref());
    assert_eq!((Revision(founded.revision), founded.slot), (revision, LEAP));
    for _ in 0..2 {
        others.start("b").await.expect("it goes on");
        let b = others.handle("b");
        b.read_barrier(LONG).await.expect("it leads");
        assert_eq!(pools(&b), ["web"]);
        others.stop("b").await;
    }
    others.start("b").await.expect("it goes on");
    let b = others.handle("b");
    assert!(put(&b, "more").await > Revision(LEAP));
    assert!(keep(&b, session).await.is_some(), "sessions go on");
    let ended = || b.inspect(|machine| machine.locks().session(session).is_none());
    until("the session to end", ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_overwritten_and_nothing_read_that_is_in_use() {
    let nodes = Nodes::started(&["a"]).await;
    let directory = nodes.directory("a");
    let taken = refound(&directory, "a", Machine::new());
    assert!(matches!(taken, Err(OfflineError::Taken { .. })));
    let held = idle(&directory);
    assert!(matches!(
        held,
        Err(OfflineError::Storage(Error::Locked { .. }))
    ));
    assert!(inspect(&directory).is_ok(), "looking does no harm");
    let foreign = inspect(directory.parent().expect("its home"));
    assert!(matches!(foreign, Err(OfflineError::Foreign { .. })));
}

#[test]
fn a_backup_that_rotted_is_refused() {
    let mut bytes = state::checkpoint(&Machine::new()).to_vec();
    assert!(read_backup(&bytes).is_ok());
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(matches!(read_backup(&bytes), Err(OfflineError::Backup(_))));
}
