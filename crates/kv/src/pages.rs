//! A range that is too long for one answer, page by page.

use bytes::Bytes;

use crate::{Kv, KvError, Partition, Row, Scan};

/// All rows of a range, in its order, in pages of at most [`Scan::limit`] rows.
///
/// Each page is a consistent view; a row that comes while the pages are read is seen if it lies ahead.
pub struct Pages<'a> {
    kv: &'a dyn Kv,
    partition: &'a Partition,
    /// What has not been read yet.
    rest: Option<Scan>,
}

impl<'a> Pages<'a> {
    /// The pages of a range; nothing is read before the first is asked for.
    pub fn new(kv: &'a dyn Kv, partition: &'a Partition, scan: Scan) -> Pages<'a> {
        Pages {
            kv,
            partition,
            rest: Some(scan),
        }
    }

    /// The next page, which has at least one row; `None` behind the last.
    ///
    /// # Errors
    /// As [`Kv::scan`].
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, KvError> {
        let Some(mut scan) = self.rest.take() else {
            return Ok(None);
        };
        let rows = self.kv.scan(self.partition, scan.clone()).await?;
        let Some((last, _)) = rows.last() else {
            return Ok(None);
        };
        if rows.len() >= scan.limit {
            if scan.reverse {
                scan.to = last.clone();
            } else {
                // The next key after the last one.
                scan.from = Bytes::from([last, &b"\0"[..]].concat());
            }
            self.rest = Some(scan);
        }
        Ok(Some(rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;
    use crate::memory::MemoryKv;

    #[tokio::test]
    async fn every_row_is_seen_once_whatever_the_size_of_a_page() {
        let kv = MemoryKv::new();
        let partition = Partition::new("romeo@example.org").unwrap();
        let mut batch = Batch::new(partition.clone());
        let keys: Vec<Bytes> = (0..10).map(|n| Bytes::from(format!("k/{n}"))).collect();
        for key in &keys {
            batch.put(key.clone(), &b"v"[..]);
        }
        batch.put(&b"l"[..], &b"not of them"[..]);
        kv.commit(batch).unwrap();
        // Pages that the rows fill to the last one, and pages that they do not.
        for limit in [1, 3, 5, 10, 11] {
            for is_reverse in [false, true] {
                let mut scan = Scan::prefix(b"k/", limit);
                scan.reverse = is_reverse;
                let mut pages = Pages::new(&kv, &partition, scan);
                let mut seen = Vec::new();
                while let Some(page) = pages.next().await.unwrap() {
                    assert!((1..=limit).contains(&page.len()));
                    seen.extend(page.into_iter().map(|(key, _)| key));
                }
                assert!(pages.next().await.unwrap().is_none());
                if is_reverse {
                    seen.reverse();
                }
                assert_eq!(seen, keys, "{limit}");
            }
        }
    }
}
