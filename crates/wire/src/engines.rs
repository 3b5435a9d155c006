//! The engine's files: one for every Python with a GIL, and one for each version of free-threaded Python, whose objects look
//! different. The module opens them all, since nobody knows before a Python runs which one it needs.

/// How the name of a file for free-threaded Python begins and ends.
const BEGIN: &str = "libwsgi_engine-";
const END: &str = ".so";

/// The engines, as files or as what stands for them.
#[derive(Debug, Clone)]
pub struct Engines<T> {
    /// For Python with a GIL.
    pub usual: T,
    /// For free-threaded Python, each with its [`tag`], in order.
    pub free: Vec<(String, T)>,
}

impl<T> Engines<T> {
    /// The same number of other things.
    ///
    /// # Errors
    /// The first of `with`.
    pub fn try_map<'t, U, E>(&'t self, with: impl Fn(&'t T) -> Result<U, E>) -> Result<Engines<U>, E> {
        let usual = with(&self.usual)?;
        let free = self.free.iter().map(|(tag, engine)| Ok((tag.clone(), with(engine)?)));
        Ok(Engines { usual, free: free.collect::<Result<_, E>>()? })
    }

    /// All of them, the usual one first.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.usual).chain(self.free.iter().map(|(_, engine)| engine))
    }

    /// The engine for this tag; `None` is Python with a GIL.
    pub fn of(&self, tag: Option<&str>) -> Option<&T> {
        match tag {
            None => Some(&self.usual),
            Some(tag) => self.free.iter().find(|(other, _)| other == tag).map(|(_, engine)| engine),
        }
    }
}

/// The version of free-threaded Python for which the file of this name is, as Python's own files have it: `cp314t`.
pub fn tag(name: &str) -> Option<&str> {
    let tag = name.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let number = tag.strip_prefix("cp")?.strip_suffix('t')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(tag)
}

/// Says that the engine is missing which `python`, a free-threaded one, needs.
pub fn missing(python: &str, tag: &str) -> String {
    format!(
        "{python} is free-threaded, and its engine is missing: {BEGIN}{tag}{END} has to lie beside libwsgi_engine.so, and to \
         be of the module's own build; 'make engine PYTHON={python}' builds it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_version() {
        assert_eq!(tag("libwsgi_engine-cp314t.so"), Some("cp314t"));
        for other in
            ["libwsgi_engine.so", "libwsgi_engine-cp314.so", "libwsgi_engine-cpt.so", "libwsgi_engine-cp3'1t.so"]
        {
            assert_eq!(tag(other), None, "{other}");
        }
    }

    #[test]
    fn each_python_has_its_engine() {
        let engines = Engines { usual: 1, free: vec![("cp314t".to_owned(), 2), ("cp315t".to_owned(), 3)] };
        assert_eq!(
            [None, Some("cp315t"), Some("cp313t")].map(|tag| engines.of(tag).copied()),
            [Some(1), Some(3), None]
        );
        let doubled = engines.try_map(|number| Ok::<_, ()>(number * 2)).expect("no error");
        assert_eq!(doubled.all().copied().collect::<Vec<_>>(), [2, 4, 6]);
        assert_eq!(engines.try_map(|number| if *number == 3 { Err(()) } else { Ok(()) }).err(), Some(()));
    }
}
