//! The agent: the detection loop, the spool, enrolment, and the stream to the hub.
