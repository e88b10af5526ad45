//! Authorization rules as files say them: what is read, and each refusal with its text.
