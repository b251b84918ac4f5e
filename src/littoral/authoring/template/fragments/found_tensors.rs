    fn found(answer: &[u8]) -> Vec<f32> {
        let frame = Frame::parse(answer).expect("a frame");
        let scaled = frame.get("scaled").expect("it is there");
        scaled.elements::<f32>().expect("float32").into_owned()
    }
