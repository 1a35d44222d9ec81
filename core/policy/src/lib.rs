//! Who may do what to which device, decided the same way at the agent and at the hub.
