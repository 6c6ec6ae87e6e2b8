//! Metrics as TensorBoard and programs read them.
#![expect(clippy::disallowed_methods, reason = "a test may write half a file")]

use std::fs;
use std::path::Path;

use collimate_run::{Metrics, Row};
use expect_test::expect;
use serde_json::json;

fn events(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("events.out.tfevents.collimate")).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    let rows = bytes.chunks(32).map(|row| row.iter().map(|it| format!("{it:02x}")).collect::<String>());
    rows.collect::<Vec<_>>().join("\n")
}

/// The format of TensorFlow's record writer, read by the book: `uint64 length, uint32 masked crc, payload, uint32 masked crc`.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for (checked, crc) in
            [(&bytes[..8], &bytes[8..12]), (&bytes[12..12 + length], &bytes[12 + length..16 + length])]
        {
            let masked = u32::from_le_bytes(crc.try_into().unwrap());
            let crc = masked.wrapping_sub(0xa282_ead8).rotate_left(15);
            assert_eq!(crc, crc32c_by_table(checked));
        }
        records.push(bytes[12..12 + length].to_vec());
        bytes = &bytes[16 + length..];
    }
    records
}

fn crc32c_by_table(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256_u32)
        .map(|it| (0..8).fold(it, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }))
        .collect();
    !bytes.iter().fold(!0_u32, |crc, byte| (crc >> 8) ^ table[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// Fields of a protobuf message: number and raw bytes (little-endian for numbers).
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            5 => 4,
            2 => varint(&mut bytes) as usize,
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, bytes[..length].to_vec()));
        bytes = &bytes[length..];
    }
    fields
}

/// Step, tag and value of every scalar.
fn scalars(bytes: &[u8]) -> Vec<(u64, String, f32)> {
    let mut scalars = Vec::new();
    for event in &records(bytes)[1..] {
        let event = fields(event);
        let [(1, wall_time), (2, step), (kind, summary)] = &event[..] else { panic!("{event:?}") };
        let step = u64::from_le_bytes(step[..].try_into().unwrap());
        assert!(f64::from_le_bytes(wall_time[..].try_into().unwrap()) > 1.7e9, "seconds since 1970");
        if *kind == 7 {
            assert_eq!(fields(summary), [(1, 1_u64.to_le_bytes().to_vec())], "a session starts");
            scalars.retain(|it: &(u64, String, f32)| it.0 < step);
            continue;
        }
        assert_eq!(*kind, 5);
        for (_, value) in fields(summary) {
            let value = fields(&value);
            let [(1, tag), (2, simple_value)] = &value[..] else { panic!("{value:?}") };
            let simple_value = f32::from_le_bytes(simple_value[..].try_into().unwrap());
            scalars.push((step, String::from_utf8(tag.clone()).unwrap(), simple_value));
        }
    }
    scalars
}

#[test]
fn events_decode_to_what_was_logged() {
    let dir = tempfile::tempdir().unwrap();
    let mut metrics = Metrics::open(dir.path(), 0).unwrap();
    metrics.log(0, [("reward", 0.25), ("kl", 0.0)]).unwrap();
    metrics.log(300, [("reward", 0.5)]).unwrap();
    let bytes = events(dir.path());
    assert_eq!(fields(&records(&bytes)[0])[1], (3, b"brain.Event:2".to_vec()));
    let scalars = scalars(&bytes);
    assert_eq!(scalars, [(0, "reward".to_owned(), 0.25), (0, "kl".to_owned(), 0.0), (300, "reward".to_owned(), 0.5)]);
    let rows = metrics.rows().unwrap();
    assert_eq!((rows[1].step, rows[1].get("reward"), rows[1].get("kl")), (300, Some(0.5), None));
}

#[test]
fn fault_24_metrics_that_are_not_finite_are_an_error_with_their_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut metrics = Metrics::open(dir.path(), 0).unwrap();
    let error = metrics.log(7, [("loss", 1.5), ("grad_norm", f64::INFINITY)]).unwrap_err().to_string();
    expect!["cannot write scalars.jsonl: step 7: `grad_norm` is inf"]
        .assert_eq(&error.replace(&format!("{}/", dir.path().display()), ""));
    assert_eq!(metrics.rows().unwrap(), []);
}

#[test]
fn events_are_laid_out_as_tensorflow_does() {
    let dir = tempfile::tempdir().unwrap();
    Metrics::open(dir.path(), 0).unwrap().log(7, [("loss", 1.5)]).unwrap();
    let records = records(&events(dir.path()));
    // Without the wall time.
    expect!["1a0d627261696e2e4576656e743a32"].assert_eq(&hex(&records[0][9..]));
    expect!["10072a0d0a0b0a046c6f7373150000c03f"].assert_eq(&hex(&records[1][9..]));
    expect![[r#"{"step":7,"loss":1.5,"check":"207ff5e2"}"#]]
        .assert_eq(fs::read_to_string(dir.path().join("scalars.jsonl")).unwrap().trim());
}

/// A viewer that is open reads on in the same file: it must only grow, but for a record that a kill tore.
#[test]
fn fault_35_a_resumed_stage_appends_to_its_event_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = |resume_at: u64, to: u64| {
        let mut metrics = Metrics::open(dir.path(), resume_at).unwrap();
        (resume_at..to).for_each(|step| metrics.log(step, [("loss", step as f64)]).unwrap());
    };
    let path = dir.path().join("events.out.tfevents.collimate");
    log(0, 5);
    let before = events(dir.path());
    for cut in 0..20 {
        // A kill may tear the last record, or lose it whole.
        fs::write(&path, &before[..before.len() - cut]).unwrap();
        let scalars_before = fs::read(dir.path().join("scalars.jsonl")).unwrap();
        log(5, 5);
        log(3, 8);
        let after = events(dir.path());
        let n_same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
        assert!(n_same >= before.len() - 60, "cut by {cut}: {n_same} of {} bytes stand", before.len());
        let shown: Vec<u64> = scalars(&after).iter().map(|it| it.0).collect();
        assert_eq!(shown, (0..8).collect::<Vec<_>>(), "cut by {cut}");
        fs::write(dir.path().join("scalars.jsonl"), scalars_before).unwrap();
    }
    // What is no event file is written anew.
    fs::write(&path, b"not events").unwrap();
    log(5, 6);
    assert_eq!(scalars(&events(dir.path())).iter().map(|it| it.0).collect::<Vec<_>>(), (0..6).collect::<Vec<_>>());
}

#[test]
fn no_step_appears_twice_after_resuming() {
    let dir = tempfile::tempdir().unwrap();
    let log = |resume_at: u64, to: u64| {
        let mut metrics = Metrics::open(dir.path(), resume_at).unwrap();
        (resume_at..to).for_each(|step| metrics.log(step, [("loss", step as f64)]).unwrap());
        metrics.rows().unwrap()
    };
    log(0, 5);
    log(3, 8);
    let rows = log(8, 8);
    let expected: Vec<Row> =
        (0..8).map(|it| serde_json::from_value(json!({"step": it, "loss": f64::from(it)})).unwrap()).collect();
    assert_eq!(rows, expected);
    assert_eq!(scalars(&events(dir.path())).iter().map(|it| it.0).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
}
