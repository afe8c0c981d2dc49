//! How many different users there are, in constant memory: a sketch that can be united with others.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use datasketches::cpc::{CpcSketch, CpcUnion};

/// The sketch keeps 2^11 rows: a union is off by 1.53 % (one standard deviation, ln 2 / sqrt(2^11)), and takes 1.2 KiB stored.
const LG_K: u8 = 11;

/// The users of some rows.
#[derive(Clone)]
pub struct Users(CpcSketch);

/// The users of several sets of rows, each user once.
#[derive(Clone)]
pub struct UsersUnion(CpcUnion);

/// A text as its bytes alone, as DataSketches in other languages hash it.
struct Utf8<'a>(&'a str);

impl Hash for Utf8<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
    }
}

impl Users {
    /// The relative error that an estimate keeps in 95 of 100 cases: two standard deviations.
    pub const ERROR: f64 = 0.031;

    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self(CpcSketch::new(LG_K).expect("DataSketches allows 4 to 26"))
    }

    /// One more, who may be there already.
    pub fn add(&mut self, user_id: &str) {
        self.0.update(Utf8(user_id));
    }

    /// Roughly how much memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.estimated_size()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.serialize()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        CpcSketch::deserialize(bytes).ok().filter(|sketch| sketch.lg_k() == LG_K).map(Self)
    }
}

impl UsersUnion {
    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self(CpcUnion::new(LG_K).expect("DataSketches allows 4 to 26"))
    }

    /// Adds all of them.
    pub fn add(&mut self, users: &Users) {
        self.0.update(&users.0).expect("all sketches of ours hash alike");
    }

    /// Everybody who was added, as one sketch.
    #[must_use]
    pub fn to_users(&self) -> Users {
        Users(self.0.to_sketch())
    }

    /// How many they are. The same for the same users, however they were distributed over the sets.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of users is neither negative nor near 2^63")]
    pub fn estimate(&self) -> u64 {
        self.0.to_sketch().estimate().round() as u64
    }
}

impl Default for Users {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for UsersUnion {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users(about {})", self.0.estimate())
    }
}

impl fmt::Debug for UsersUnion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UsersUnion(about {})", self.estimate())
    }
}
