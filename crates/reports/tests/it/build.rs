//! Inputs that tests put together.

use std::io::Write;

use flate2::{Compression, FlushCompress, write::GzEncoder};
use mtasts_reports::{Deviation, Limits, dmarc, tls_rpt};
use serde_json::{Value, json};

/// A TLS report without a fault.
pub(crate) fn tls_json() -> Value {
    json!({
        "organization-name": "Sender Example",
        "date-range": { "start-datetime": "2026-11-20T00:00:00Z", "end-datetime": "2026-11-20T23:59:59Z" },
        "contact-info": "tls-reports@sender.example",
        "report-id": "id-1",
        "policies": [{
            "policy": {
                "policy-type": "sts",
                "policy-string": ["version: STSv1", "mode: enforce", "mx: *.example.net", "max_age: 604800"],
                "policy-domain": "example.net",
                "mx-host": ["*.example.net"],
            },
            "summary": { "total-successful-session-count": 120, "total-failure-session-count": 3 },
            "failure-details": [{
                "result-type": "certificate-expired",
                "sending-mta-ip": "192.0.2.10",
                "receiving-mx-hostname": "mx1.example.net",
                "failed-session-count": 3,
            }],
        }],
    })
}

/// Reads one with a change.
pub(crate) fn tls(change: impl FnOnce(&mut Value)) -> tls_rpt::Report {
    let mut json = tls_json();
    change(&mut json);
    tls_rpt::Report::parse(json.to_string().as_bytes(), &Limits::default()).unwrap()
}

pub(crate) fn codes(list: &[Deviation]) -> Vec<(&'static str, &str)> {
    list.iter().map(|deviation| (deviation.code.as_str(), deviation.place.as_str())).collect()
}

/// A DMARC record.
pub(crate) fn record(source: &str, count: &str, disposition: &str) -> String {
    format!(
        "<record><row><source_ip>{source}</source_ip><count>{count}</count><policy_evaluated>\
         <disposition>{disposition}</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>\
         <identifiers><header_from>example.net</header_from></identifiers>\
         <auth_results><dkim><domain>example.net</domain><result>pass</result></dkim></auth_results></record>"
    )
}

/// A DMARC report with these records.
pub(crate) fn dmarc_xml(records: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><feedback><version>1.0</version><report_metadata><org_name>Sender</org_name>\
         <email>dmarc@sender.example</email><report_id>d-1</report_id>\
         <date_range><begin>1795132800</begin><end>1795219199</end></date_range></report_metadata>\
         <policy_published><domain>example.net</domain><p>none</p></policy_published>{records}</feedback>"
    )
}

pub(crate) fn dmarc(records: &str) -> dmarc::Report {
    dmarc::Report::parse(dmarc_xml(records).as_bytes(), &Limits::default()).unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// gzip of so many MiB of one octet, as small as it can be made: one block, again and again.
pub(crate) fn gzip_of(octet: u8, mebibytes: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(1 << 16);
    let mut deflate = flate2::Compress::new(Compression::best(), false);
    deflate.compress_vec(&vec![octet; 1 << 20], &mut block, FlushCompress::Full).unwrap();
    assert_eq!(deflate.total_in(), 1 << 20);
    let mut stream = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    stream.extend(block.repeat(mebibytes));
    // An empty last block, and a checksum that is wrong.
    stream.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    stream
}

/// A zip archive of these entries.
pub(crate) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    use zip::write::SimpleFileOptions;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
