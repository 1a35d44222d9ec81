//! The hub: puts the capabilities together and serves agents, the API and the console.
