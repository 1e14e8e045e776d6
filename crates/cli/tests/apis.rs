//! The APIs of other people in `tests/apis` are read whole.

use std::path::Path;

use okta_policy::{
    api::{self, Access, BasePath},
    files::Stop,
};

#[test]
fn apis_of_other_people_are_read() {
    // Operations: all, with the authorizer, open, with scopes. Notes.
    let expected = [
        ("dialogporten.json", [44, 40, 4, 40], 1),
        ("podman.yaml", [170, 0, 170, 0], 0),
        ("rclone.yaml", [101, 0, 101, 0], 0),
        ("readme.json", [36, 0, 36, 0], 0),
        ("shipengine.yaml", [76, 0, 76, 0], 0),
        ("star-trek.yaml", [120, 0, 120, 0], 0),
    ];
    for (name, operations, notes) in expected {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apis").join(name);
        let api = match api::read(&path, BasePath::Ignore) {
            Ok(api) => api,
            Err(Stop::Unreadable(reason)) => panic!("{reason}"),
            Err(Stop::Mistakes(report)) => panic!("{}", report.summary),
        };
        let count = |is: &dyn Fn(&api::Operation) -> bool| api.operations.iter().filter(|one| is(one)).count();
        let counts = [
            api.operations.len(),
            count(&|operation| operation.access == Access::Authorizer),
            count(&|operation| matches!(operation.access, Access::Open(_))),
            count(&|operation| !operation.scopes.is_empty()),
        ];
        assert_eq!((counts, api.notes.len()), (operations, notes), "{name}");
        for operation in &api.operations {
            let key = &operation.place.file.text[operation.place.span.clone()];
            assert_eq!(
                key.trim_matches(['"', '\'']).to_ascii_uppercase(),
                operation.method,
                "{name}: {}",
                operation.name()
            );
        }
    }
}
