//! `podium stop`: ends what runs for an earlier non-blocking request. PXP 1.0 has nothing for that; Podium's agents have this
//! module, and any other agent answers that it is unknown. Input and results are those of [`super::status`]: an agent that
//! is ending the transaction says that it is running.

/// The module's name.
pub const MODULE: &str = "podium";

/// The action's name.
pub const ACTION: &str = "stop";
