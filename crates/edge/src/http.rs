//! HTTP as far as an edge needs it: strict on the way in, ready-made bytes on the way out.

pub(crate) mod answer;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod head;
pub(crate) mod site;
