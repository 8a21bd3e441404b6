//! The inspector against real listeners on loopback: a sound domain, domains that are broken in one way each, and
//! strangers who are slow, big or hostile.

mod generate;
mod limits;
mod table;
mod world;
