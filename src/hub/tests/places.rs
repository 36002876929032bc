//! How many sessions a user, or all who hold one link, may have open.

use super::*;
use crate::{domain::Holder, hub::Place, protocol::CloseCause};

fn ann() -> Viewer {
    Viewer::User { id: user("ann"), only: None }
}

fn link(orders: &[&str]) -> Viewer {
    Viewer::Link { orders: Arc::new(orders.iter().map(|id| order(id)).collect()) }
}

fn joining(viewer: &Viewer, token_id: Option<&str>, place: Option<(usize, bool)>) -> (Joining, Arc<Mailbox>) {
    let mailbox = Arc::new(Mailbox::new(65_536));
    let holder: Holder = viewer.holder(token_id);
    let place = place.map(|(max, closes_oldest)| Place { holder, max, closes_oldest });
    let viewer = viewer.clone();
    (Joining { viewer, mailbox: mailbox.clone(), start: true, place, identity: None }, mailbox)
}

fn join(scene: &mut Scene, viewer: &Viewer, token_id: Option<&str>) -> Result<SessionKey, TooManySessions> {
    scene.hub.join(joining(viewer, token_id, Some((2, false))).0)
}

#[test]
fn a_user_has_as_many_sessions_as_are_allowed() {
    let mut scene = Scene::new();
    scene.hub.join(joining(&ann(), None, None).0).expect("a single answer does not count");
    let first = join(&mut scene, &ann(), Some("t-1")).unwrap();
    join(&mut scene, &ann(), Some("t-2")).unwrap();
    let narrow = Viewer::User { id: user("ann"), only: Some(Arc::default()) };
    for viewer in [&ann(), &narrow] {
        assert_eq!(join(&mut scene, viewer, None), Err(TooManySessions), "whatever the token is");
    }
    assert_eq!((scene.hub.sessions(), scene.hub.open_sessions()), (3, 2));
    scene.hub.leave(first);
    join(&mut scene, &ann(), None).expect("a place is free again");
}

#[test]
fn all_who_hold_the_same_link_have_as_many_sessions_together_as_are_allowed() {
    let mut scene = Scene::new();
    let mut keys = Vec::new();
    for (viewer, token_id) in
        [(link(&["A-1", "A-2"]), None), (link(&["A-1"]), Some("t-1")), (link(&["A-1"]), Some("t-2")), (ann(), None)]
    {
        for _ in 0..2 {
            keys.push(join(&mut scene, &viewer, token_id).expect("each has places of its own"));
        }
        assert_eq!(join(&mut scene, &viewer, token_id), Err(TooManySessions), "{viewer:?} {token_id:?}");
    }
    assert_eq!(join(&mut scene, &link(&["A-2", "A-1"]), None), Err(TooManySessions), "in whatever order");
    assert_eq!(join(&mut scene, &link(&["A-3"]), Some("t-1")), Err(TooManySessions), "whatever the token lists now");
    scene.hub.leave(keys[0]);
    keys.push(join(&mut scene, &link(&["A-1", "A-2"]), None).expect("a place is free again"));
    keys.into_iter().for_each(|key| scene.hub.leave(key));
    assert!(scene.hub.registry.is_empty());
}

#[test]
fn a_link_that_is_exchanged_for_another_keeps_its_place() {
    let mut scene = Scene::new();
    for _ in 0..2 {
        let key = join(&mut scene, &link(&["A-1"]), None).unwrap();
        scene.hub.refresh(key, link(&["A-2"]), at(0));
    }
    assert_eq!(join(&mut scene, &link(&["A-1"]), None), Err(TooManySessions));
    join(&mut scene, &link(&["A-2"]), None).expect("nobody else loses one by that");
}

#[test]
fn a_newcomer_ends_the_oldest_session_only_once_nothing_can_refuse_it_any_more() {
    for (viewer, other) in [(ann(), link(&["A-1"])), (link(&["A-1"]), link(&["A-2"]))] {
        let mut scene = Scene::new();
        let mut join = |viewer: &Viewer| {
            let (joining, mailbox) = joining(viewer, None, Some((1, true)));
            (scene.hub.join(joining).unwrap(), mailbox)
        };
        let ((first, old), (refused, _), (second, new), (other, stranger)) =
            (join(&viewer), join(&viewer), join(&viewer), join(&other));
        for key in [first, other] {
            scene.hub.take_place(key, 1);
        }
        assert_eq!(old.closed(), None, "two are on their way, and one of them will be refused");
        scene.hub.leave(refused);
        scene.hub.take_place(second, 1);
        assert_eq!((old.closed(), new.closed()), (Some(CloseCause::Replaced), None));
        assert_eq!(stranger.closed(), None);
        [first, second, other].into_iter().for_each(|key| scene.hub.leave(key));
        assert!(scene.hub.registry.is_empty());
    }
}
