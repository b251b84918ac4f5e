    fn found(answer: &[u8]) -> Vec<f32> {
        let text = std::str::from_utf8(answer).expect("text");
        text.lines().map(|line| line.parse().expect("a number")).collect()
    }
