//! Enrolment tokens: one line that a person copies from the hub to a machine.

use std::fmt;
use std::str::FromStr;

use wardline_event::{hex, unhex};

/// A token for enrolment: the secret, and the fingerprint of the hub's authority, so that the very first
/// connection already knows whom it talks to.
///
/// Text form: `wardline1.SECRET.FINGERPRINT`, 32 and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    /// 16 random bytes. The hub keeps only their hash.
    pub secret: [u8; 16],
    /// SHA-256 over the DER of the hub authority's certificate.
    pub authority: [u8; 32],
}

/// The text is not a token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Not of this form at all.
    #[error(
        "this is not an enrolment token: it should look like wardline1.<32 hex digits>.<64 hex digits>; copy it whole from `wardline hub token`"
    )]
    Form,
    /// A newer form.
    #[error("this enrolment token was made by a newer hub; update this machine's wardline first")]
    Newer,
}

impl EnrolmentToken {
    /// The secret as it travels in the request.
    pub fn secret_text(&self) -> String {
        hex(&self.secret)
    }
}

fn exactly<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex(text)?.try_into().ok()
}

impl fmt::Display for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wardline1.{}.{}", hex(&self.secret), hex(&self.authority))
    }
}

impl fmt::Debug for EnrolmentToken {
    /// The secret stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolmentToken(.., {})", hex(&self.authority))
    }
}

impl FromStr for EnrolmentToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [version, secret, authority] = parts[..] else { return Err(TokenError::Form) };
        match version.strip_prefix("wardline") {
            Some("1") => {}
            Some(n) if n.parse::<u32>().is_ok() => return Err(TokenError::Newer),
            _ => return Err(TokenError::Form),
        }
        let (Some(secret), Some(authority)) = (exactly(secret), exactly(authority)) else {
            return Err(TokenError::Form);
        };
        Ok(Self { secret, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_survive_their_text_form(secret: [u8; 16], authority: [u8; 32]) {
            let token = EnrolmentToken { secret, authority };
            prop_assert_eq!(format!(" {token}\n").parse(), Ok(token));
        }

        #[test]
        fn hostile_text_never_panics(text in "\\PC{0,120}") {
            let _ = text.parse::<EnrolmentToken>();
        }
    }

    #[test]
    fn a_newer_token_says_so() {
        assert_eq!("wardline2.x.y".parse::<EnrolmentToken>(), Err(TokenError::Newer));
        assert_eq!("hello".parse::<EnrolmentToken>(), Err(TokenError::Form));
    }
}
