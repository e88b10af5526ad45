//! An agent of PCP v1, chunk by chunk, at the real server: it associates and does a task.

use std::process::Output;

use podium::pcp::{SERVER_URI, message_type as pcp};
use podium::pxp::message_type as pxp;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::hostile::{Socket, websocket};
use super::lab::{Lab, lossy};

const NAME: &str = "a.example.test";

fn say(socket: &mut WebSocket<Socket>, message_type: &str, target: &str, data: Option<&Value>) {
    let envelope = json!({
        "id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "message_type": message_type, "targets": [target],
        "expires": "2030-01-01T00:00:15Z", "sender": format!("pcp://{NAME}/agent"),
    });
    let mut message = vec![1];
    for (kind, content) in [(1, Some(&envelope)), (2, data)] {
        let Some(content) = content.map(Value::to_string) else { continue };
        message.push(kind);
        message.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        message.extend(content.as_bytes());
    }
    socket.send(Message::binary(message)).unwrap();
}

/// The envelope and the data of the next message.
fn hear(socket: &mut WebSocket<Socket>) -> (Value, Value) {
    let message = match socket.read().unwrap() {
        Message::Binary(message) => message,
        other => panic!("{other:?}"),
    };
    let length = u32::from_be_bytes(message[2..6].try_into().unwrap()) as usize;
    let (envelope, data) = message[6..].split_at(length);
    assert_eq!((message[0], message[1], data[0]), (1, 1, 2));
    (serde_json::from_slice(envelope).unwrap(), serde_json::from_slice(&data[5..]).unwrap())
}

#[test]
fn an_agent_associates_and_does_a_task() {
    let mut lab = Lab::new(&[NAME]);
    lab.write_task("old.sh", "#!/bin/sh\n");
    lab.start_server();
    let mut socket = websocket(&lab, NAME, "/pcp").unwrap();
    say(&mut socket, pcp::ASSOCIATE_REQUEST, SERVER_URI, None);
    let (envelope, data) = hear(&mut socket);
    assert_eq!(envelope["message_type"], pcp::ASSOCIATE_RESPONSE);
    assert_eq!(envelope["targets"], json!([format!("pcp://{NAME}/agent")]));
    assert_eq!(data, json!({"id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "success": true}));
    socket.send(Message::text("text")).unwrap();
    assert_eq!(hear(&mut socket).1, json!({"description": "Could not decode message"}));
    lab.wait_connected(&[NAME]);

    let output: Output = std::thread::scope(|scope| {
        let client = scope.spawn(|| lab.client(&["task", "run", "demo::old", "--nodes", NAME, "--format", "json"], ""));
        let (envelope, data) = hear(&mut socket);
        assert_eq!(envelope["message_type"], pxp::NON_BLOCKING_REQUEST);
        assert_eq!((&data["module"], &data["action"]), (&json!("task"), &json!("run")));
        let (controller, transaction) = (envelope["sender"].as_str().unwrap(), &data["transaction_id"]);
        say(&mut socket, pxp::PROVISIONAL_RESPONSE, controller, Some(&json!({"transaction_id": transaction})));
        let results = json!({"exitcode": 0, "stdout": "{\"word\": \"w\u{e4}\"}"});
        let response = json!({"transaction_id": transaction, "results": results});
        say(&mut socket, pxp::NON_BLOCKING_RESPONSE, controller, Some(&response));
        client.join().unwrap()
    });
    assert_eq!(output.status.code(), Some(0), "{}", lossy(&output.stderr));
    let job: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&job["state"], &job["items"][0]["result"]), (&json!("finished"), &json!({"word": "w\u{e4}"})));
}
