    fn given(values: &[f32]) -> Vec<u8> {
        let words: Vec<String> = values.iter().map(f32::to_string).collect();
        words.join(" ").into_bytes()
    }
