//! Advantages, schedules and batches: no model.

mod tiny;

use collimate_model::Encoded;
use collimate_schema::Seed;
use collimate_train::{Advantages, Baseline, Batch, Degenerate, Schedule, Trained, advantages, draw, pack};
use tiny::encoded;

#[test]
fn advantages_by_hand() {
    let of = |rewards: &[f32], baseline| advantages(rewards, baseline);
    assert_eq!(of(&[1.0, 0.0, 0.5], Baseline::LeaveOneOut), Advantages::Of(vec![0.75, -0.75, 0.0]));
    assert_eq!(of(&[1.0, 0.0, 0.5], Baseline::GroupMean), Advantages::Of(vec![0.5, -0.5, 0.0]));
    for baseline in [Baseline::LeaveOneOut, Baseline::GroupMean] {
        assert_eq!(of(&[], baseline), Advantages::Degenerate(Degenerate::TooFew));
        assert_eq!(of(&[1.0], baseline), Advantages::Degenerate(Degenerate::TooFew));
        assert_eq!(of(&[0.3, 0.3, 0.3], baseline), Advantages::Degenerate(Degenerate::NoSpread));
    }
}

#[test]
fn the_schedule_rises_then_falls() {
    let schedule = Schedule { peak: 1.0, floor: 0.1, n_warmup: 4, n_steps: 10 };
    let rates: Vec<f32> = (0..12).map(|step| schedule.at(step)).collect();
    assert_eq!(rates[..5], [0.25, 0.5, 0.75, 1.0, 1.0]);
    assert!(rates[4..10].windows(2).all(|it| it[0] > it[1]));
    for last in &rates[9..] {
        assert!((last - 0.1).abs() < 1e-6, "the floor from the last step on, not {last}");
    }
}

#[test]
fn a_batch_predicts_each_trained_token_from_the_one_before() {
    let (short, long) = (encoded(&[0, 5, 6], 1), encoded(&[0, 7, 8, 9, 1], 3));
    let batch = Batch::new([&short, &long]);
    assert_eq!((batch.layout.lengths(), batch.tokens), (&[2, 4][..], vec![0, 5, 0, 7, 8, 9]));
    let expected = [(0, 5), (1, 6), (4, 9), (5, 1)].map(|(at, token)| Trained { at, token, weight: 1.0 });
    assert_eq!(batch.trained, expected);
}

#[test]
fn a_beginning_that_is_long_enough_is_computed_once() {
    let prompt: Vec<u32> = (0..20).collect();
    let sample = |tail: &[u32]| encoded(&[&prompt, tail].concat(), 20);
    let other = encoded(&(20..40).collect::<Vec<_>>(), 19);
    let batch = Batch::new([&sample(&[5, 6, 7]), &other, &sample(&[5, 8]), &sample(&[9, 6])]);
    assert_eq!(batch.layout.lengths(), [22, 19, 21, 21]);
    assert_eq!(batch.tokens, [&prompt[..], &[5, 6], &(20..39).collect::<Vec<_>>(), &[9]].concat());
    let expected = [(19, 5), (20, 6), (21, 7), (40, 39), (19, 5), (20, 8), (19, 9), (41, 6)];
    assert_eq!(batch.trained, expected.map(|(at, token)| Trained { at, token, weight: 1.0 }));
    // Seven common tokens are not worth it, nor are eight of two hundred.
    for (n_common, n_tail) in [(7, 5), (8, 100)] {
        let sequence = |tail: u32| encoded(&(0..n_common).chain(vec![tail; n_tail]).collect::<Vec<_>>(), 3);
        let batch = Batch::new([&sequence(50), &sequence(51)]);
        assert_eq!(batch.tokens.len(), batch.layout.lengths().iter().sum::<usize>());
    }
}

#[test]
fn splitting_keeps_every_token_and_pads_none() {
    let sequences = tiny::sequences();
    let n_trained: usize = sequences.iter().map(|it| it.n_trained()).sum();
    let n_positions: usize = sequences.iter().map(|it| it.tokens.len() - 1).sum();
    for max_positions in [1, 10, 24, 50, 1000] {
        let batches = Batch::split(&sequences, max_positions);
        assert_eq!(batches.iter().map(|it| it.trained.len()).sum::<usize>(), n_trained);
        assert_eq!(batches.iter().map(|it| it.tokens.len()).sum::<usize>(), n_positions);
        assert!(batches.iter().all(|it| it.tokens.len() <= max_positions || it.layout.lengths().len() == 1));
    }
}

#[test]
fn micro_batches_are_few_and_of_like_size() {
    let lengths = [200, 10, 90, 100, 20, 90, 40, 50, 30, 60];
    let sequences: Vec<_> = lengths.iter().map(|it| encoded(&vec![0; it + 1], 1)).collect();
    let positions = |group: &Vec<usize>| group.iter().map(|it| lengths[*it]).sum::<usize>();
    let of = |max_positions| pack(&sequences, max_positions).iter().map(positions).collect::<Vec<_>>();
    assert_eq!(of(1000), [690]);
    assert_eq!(of(350), [350, 340]);
    assert_eq!(of(230), [230, 230, 230]);
    assert_eq!(of(150), [200, 120, 130, 120, 120]); // the first does not fit and stays alone
    assert_eq!(pack::<Encoded>(&[], 100), Vec::<Vec<usize>>::new());
}

#[test]
fn every_pass_takes_each_example_once_in_its_own_order() {
    for n in [1, 3, 7, 10, 25] {
        let steps = 70_usize.div_ceil(n);
        let drawn: Vec<Vec<usize>> = (0..steps).map(|step| draw(7, step, n, Seed(4))).collect();
        assert!(drawn.iter().all(|it| it.len() == n));
        let passes: Vec<Vec<usize>> = drawn.concat().chunks_exact(7).map(<[usize]>::to_vec).collect();
        for pass in &passes {
            let mut sorted = pass.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..7).collect::<Vec<_>>(), "{n} a step");
        }
        assert!(passes[..9].windows(2).any(|it| it[0] != it[1]), "orders differ");
        // However many a step takes, the order of all steps together is one.
        let one_by_one: Vec<usize> = (0..steps * n).flat_map(|step| draw(7, step, 1, Seed(4))).collect();
        assert_eq!(drawn.concat(), one_by_one);
    }
    assert_ne!(draw(7, 0, 7, Seed(4)), draw(7, 0, 7, Seed(5)));
    assert_eq!((draw(0, 3, 5, Seed(4)), draw(7, 3, 0, Seed(4))), (vec![], vec![]));
}

#[test]
fn the_order_of_examples_is_as_stored() {
    assert_eq!(draw(5, 1, 4, Seed(4)), [2, 0, 3, 2]);
}
