//! What a session answers its client: `sync` and `subscribe`, also with frames on their way when the client spoke.

use super::*;

fn claims(claims: &[(&str, Option<i64>)]) -> HashMap<OrderId, Option<Rev>> {
    let rev = |offset| Rev { stamp: stamp(offset), terminal: false };
    claims.iter().map(|(id, offset)| (order(id), offset.map(rev))).collect()
}

/// Orders of ann, saved.
fn three_orders() -> Scene {
    let mut scene = Scene::new();
    for id in ["A-1", "A-2", "A-3"] {
        scene.set(id, 1, &["ann"]);
    }
    scene.fan();
    scene.save();
    scene
}

/// The settings have changed since the client was told, and the record is the same.
#[test]
fn a_client_that_comes_back_is_told_what_is_terminal_by_now_and_no_audit_calls_that_wrong() {
    let mut scene = three_orders();
    for history in scene.rows.values_mut() {
        let Known::Order(state) = &history.known else { panic!("it is there") };
        let before = Arc::clone(state);
        history.known = Known::Order(Arc::new(OrderState {
            order_id: before.order_id.clone(),
            user_id: before.user_id.clone(),
            viewers: before.viewers.clone(),
            status: before.status.clone(),
            terminal: true,
            details: None,
            event_id: None,
            ..*before
        }));
    }
    let ann = scene.join(Viewer::User { id: user("ann"), only: None }, false);
    let mut shown = claims(&[("A-1", Some(0)), ("A-2", Some(1)), ("A-3", Some(2))]);
    shown.insert(order("A-2"), Some(Rev { stamp: stamp(1), terminal: true }));
    scene.hub.sync(ann.key, shown);
    scene.answer();
    assert_eq!(ann.hear(), ["some: A-1 v1/1 A-3 v1/1"]);
    scene.hub.audit(ann.key);
    assert_eq!(scene.answer(), [Reconciled::Done(vec![])]);
    assert!(ann.hear().is_empty());
}

#[test]
fn a_client_that_comes_back_gets_what_differs() {
    let mut scene = three_orders();
    scene.set("A-2", 2, &["ann"]);
    scene.fan();
    let ann = scene.join(Viewer::User { id: user("ann"), only: None }, false);
    assert!(!scene.hub.has_due_reads(), "it waits for the client");
    scene.hub.sync(ann.key, claims(&[("A-1", Some(0)), ("A-2", Some(1)), ("B-9", Some(7))]));
    scene.answer();
    assert_eq!(ann.hear(), ["some: -B-9 A-2 v2/2 A-3 v1/1"]);
}

#[test]
fn a_client_that_shows_the_truth_gets_an_empty_answer() {
    let mut scene = three_orders();
    let ann = scene.join(Viewer::User { id: user("ann"), only: None }, false);
    scene.hub.sync(ann.key, claims(&[("A-1", Some(0)), ("A-2", Some(1)), ("A-3", Some(2))]));
    scene.answer();
    assert_eq!(ann.hear(), ["some: "]);
}

#[test]
fn a_claim_counts_only_if_nothing_else_can_be_on_its_way() {
    let mut scene = three_orders();
    let ann = scene.live("ann");
    // The client spoke before it saw what follows, and before it saw A-3 at all.
    let said = claims(&[("A-1", Some(0)), ("A-2", Some(1))]);
    scene.set("A-1", 2, &["ann"]);
    scene.set("A-2", 2, &["bob"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v2", "-A-2"]);
    scene.hub.sync(ann.key, said);
    scene.answer();
    assert_eq!(ann.hear(), ["some: -A-2 A-1 v2/2 A-3 v1/1"]);
}

#[test]
fn what_was_pending_when_a_client_spoke_is_told_in_the_answer() {
    let mut scene = three_orders();
    let ann = scene.live("ann");
    scene.set("A-1", 2, &["bob"]);
    scene.set("A-2", 2, &["ann"]);
    scene.fan();
    scene.hub.subscribe(ann.key, Some(vec![order("A-3")]));
    scene.answer();
    assert_eq!(ann.hear(), ["some: -A-1 -A-2 A-3 v1/1"]);
}

#[test]
fn a_subscription_narrows_and_widens() {
    let mut scene = three_orders();
    let ann = scene.live("ann");
    scene.hub.subscribe(ann.key, Some(vec![order("A-1")]));
    scene.answer();
    assert_eq!(ann.hear(), ["some: -A-2 -A-3 A-1 v1/1"]);
    scene.set("A-1", 2, &["ann"]);
    scene.set("A-2", 2, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v2"]);
    scene.hub.subscribe(ann.key, None);
    scene.answer();
    assert_eq!(ann.hear(), ["all: A-1 v2/2 A-2 v2/2 A-3 v1/1"]);
}

#[test]
fn an_order_that_is_not_visible_is_named_once_and_shown_when_it_becomes_so() {
    let mut scene = three_orders();
    let ann = scene.live("ann");
    scene.hub.subscribe(ann.key, Some(vec![order("A-1"), order("B-1")]));
    scene.answer();
    assert_eq!(ann.hear(), ["some: -A-2 -A-3 -B-1 A-1 v1/1", "unseen: B-1"]);
    scene.hub.restart(ann.key);
    scene.answer();
    assert_eq!(ann.hear(), ["all: A-1 v1/1"]);
    scene.set("B-1", 1, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["B-1 v1"]);
}

#[test]
fn the_first_snapshot_is_a_full_one_even_if_the_client_subscribes_before() {
    let mut scene = three_orders();
    let ann = scene.join(Viewer::User { id: user("ann"), only: None }, true);
    scene.hub.subscribe(ann.key, Some(vec![order("A-1"), order("B-1")]));
    scene.answer();
    assert_eq!(ann.hear(), ["all: A-1 v1/1", "unseen: B-1"]);
}

#[test]
fn a_full_snapshot_that_was_not_taken_is_owed_whatever_the_client_says() {
    let say: [fn(&mut Scene, SessionKey); 2] = [
        |scene, key| scene.hub.sync(key, HashMap::new()),
        |scene, key| scene.hub.subscribe(key, Some(vec![order("A-1"), order("A-2"), order("A-3")])),
    ];
    for say in say {
        let mut scene = three_orders();
        let ann = scene.live("ann");
        scene.hub.restart(ann.key);
        say(&mut scene, ann.key);
        scene.answer();
        say(&mut scene, ann.key);
        scene.answer();
        assert_eq!(ann.hear(), ["all: A-1 v1/1 A-2 v1/1 A-3 v1/1"]);
    }
}

#[test]
fn a_sync_of_a_session_that_overflowed_is_answered_by_a_full_snapshot() {
    let mut scene = Scene { mailbox_bytes: 500, ..three_orders() };
    let ann = scene.live("ann");
    for id in ["A-1", "A-2", "A-3"] {
        scene.set(id, 2, &["ann"]);
    }
    scene.fan();
    scene.hub.sync(ann.key, claims(&[("A-1", Some(0))]));
    scene.answer();
    assert_eq!(ann.hear(), ["all: A-1 v2/2 A-2 v2/2 A-3 v2/2"]);
}

#[test]
fn an_answer_to_an_older_question_does_nothing() {
    let mut scene = three_orders();
    let ann = scene.join(Viewer::User { id: user("ann"), only: None }, true);
    let due = scene.ask();
    scene.hub.restart(ann.key);
    let snapshot = scene.snapshot(&due);
    assert_eq!(scene.settle(&due, &snapshot), [Reconciled::Gone]);
    assert!(ann.hear().is_empty());
    scene.answer();
    assert_eq!(ann.hear(), ["all: A-1 v1/1 A-2 v1/1 A-3 v1/1"]);
}

#[test]
fn which_orders_are_not_visible_is_told_although_the_mailbox_overflows_or_the_client_speaks_before() {
    let before: [fn(&mut Scene, SessionKey); 2] = [
        |scene, _| {
            for id in ["A-1", "A-2", "A-3"] {
                scene.set(id, 2, &["ann"]);
            }
            scene.fan();
        },
        |scene, key| scene.hub.sync(key, claims(&[("A-1", Some(0)), ("A-2", Some(1)), ("A-3", Some(2))])),
    ];
    for before in before {
        let mut scene = Scene { mailbox_bytes: 500, ..three_orders() };
        let ann = scene.live("ann");
        scene.hub.subscribe(ann.key, Some(["A-1", "A-2", "A-3", "B-1"].map(order).into()));
        scene.answer();
        // Nothing was taken yet.
        before(&mut scene, ann.key);
        let mut heard = Vec::new();
        for _ in 0..2 {
            scene.answer();
            heard.extend(ann.hear());
            if heard.last().is_some_and(|last| last == "overflowed") {
                scene.hub.restart(ann.key);
            }
        }
        assert_eq!(heard.iter().filter(|told| *told == "unseen: B-1").count(), 1, "{heard:?}");
        assert_eq!(heard.last().unwrap(), "unseen: B-1", "after the snapshot it belongs to: {heard:?}");
    }
}
