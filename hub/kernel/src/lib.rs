//! What every hub capability stands on: store, sign-in, audit log, live stream, page layout.
