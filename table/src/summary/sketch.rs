//! How many different users there are, in constant memory: a sketch that can be united with others.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use datasketches::cpc::{CpcSketch, CpcUnion};

/// The sketch keeps 2^11 rows: a union is off by 1.53 % (one standard deviation, ln 2 / sqrt(2^11)), and takes 1.2 KiB stored.
const LG_K: u8 = 11;

/// In a stored sketch: the byte of flags, and the flag of one that remembers in which order its users came.
const FLAGS: usize = 5;
const HAS_HISTORY: u8 = 1 << 2;

/// The users of some rows.
#[derive(Clone)]
pub struct Users {
    sketch: CpcSketch,
    /// Whether it depends on the users alone, not on the order in which they came.
    is_united: bool,
}

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
        Self { sketch: CpcSketch::new(LG_K).expect("DataSketches allows 4 to 26"), is_united: false }
    }

    /// One more, who may be there already.
    pub fn add(&mut self, user_id: &str) {
        self.sketch.update(Utf8(user_id));
        self.is_united = false;
    }

    /// The same users, in the form whose estimate depends on them alone.
    #[must_use]
    pub fn united(&self) -> Self {
        if self.is_united {
            return self.clone();
        }
        let mut union = UsersUnion::new();
        union.add(self);
        union.to_users()
    }

    /// Takes that form.
    pub fn unite(&mut self) {
        if !self.is_united {
            *self = self.united();
        }
    }

    /// How many they are. The same for the same users, however they were distributed over other sets.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of users is neither negative nor near 2^63")]
    pub fn estimate(&self) -> u64 {
        if self.is_united { self.sketch.estimate().round() as u64 } else { self.united().estimate() }
    }

    /// Roughly how much memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.sketch.estimated_size()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.sketch.serialize()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let sketch = CpcSketch::deserialize(bytes).ok().filter(|sketch| sketch.lg_k() == LG_K)?;
        Some(Self { sketch, is_united: bytes[FLAGS] & HAS_HISTORY == 0 })
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
        self.0.update(&users.sketch).expect("all sketches of ours hash alike");
    }

    /// Everybody who was added, as one sketch.
    #[must_use]
    pub fn to_users(&self) -> Users {
        Users { sketch: self.0.to_sketch(), is_united: true }
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
        write!(f, "Users(about {})", self.estimate())
    }
}

impl fmt::Debug for UsersUnion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UsersUnion(about {})", self.to_users().estimate())
    }
}
