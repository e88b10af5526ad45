//! The broker core, pure: sessions, directory, routing, inventory, controllers.
