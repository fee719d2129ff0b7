//! What a layout is asked for: an item's whole path, and the size that the caller's own compiler gave it.

use std::any::type_name;

/// An item that a layout is asked for, as the caller's own compiler knows it.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Asked {
    /// As it stands in the macro.
    pub spelled: &'static str,
    /// The type's name, or the function's, with the whole path.
    pub name: &'static str,
    /// The name of the function's future; empty for a type.
    pub future: &'static str,
    /// Whether it is a function.
    pub is_function: bool,
    /// Bytes in a value: of the type, or of the function's future.
    pub size: usize,
    /// Its alignment.
    pub align: usize,
}

impl Asked {
    /// Whether the last name of the path has arguments, or one before it.
    pub(super) fn is_generic(&self) -> bool {
        let name = self.name.strip_prefix('<').and_then(|rest| rest.split_once(">::")).map_or(self.name, |(_, rest)| rest);
        name.contains('<')
    }
}

/// A question about a type.
#[doc(hidden)]
pub fn ask_type<T>(spelled: &'static str) -> Asked {
    Asked { spelled, name: type_name::<T>(), future: "", is_function: false, size: size_of::<T>(), align: align_of::<T>() }
}

/// A question about the future that a function returns.
#[doc(hidden)]
pub fn ask_function<Arguments, F: AsyncFunction<Arguments>>(_: &F, spelled: &'static str) -> Asked {
    let (size, align) = (size_of::<F::Future>(), align_of::<F::Future>());
    Asked { spelled, name: type_name::<F>(), future: type_name::<F::Future>(), is_function: true, size, align }
}

/// A function that returns a future.
#[doc(hidden)]
pub trait AsyncFunction<Arguments> {
    /// What it returns.
    type Future: Future;
}

macro_rules! async_function {
    ($($argument:ident)*) => {
        impl<F: Fn($($argument),*) -> R, R: Future $(, $argument)*> AsyncFunction<($($argument,)*)> for F {
            type Future = R;
        }
    };
}

async_function!();
async_function!(A);
async_function!(A B);
async_function!(A B C);
async_function!(A B C D);
async_function!(A B C D E);
async_function!(A B C D E G);
async_function!(A B C D E G H);
async_function!(A B C D E G H I);
