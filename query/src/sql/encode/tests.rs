use std::io::Cursor;

use datafusion::{
    arrow::{
        array::{Int64Array, ListArray, StringArray, TimestampMicrosecondArray},
        datatypes::Int32Type,
        ipc::reader::StreamReader,
    },
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
};
use schemas::tables::timestamp_type;

use super::*;

fn rows() -> RecordBatch {
    let json = Field::new("json", DataType::Utf8View, true).with_metadata([(EXTENSION_NAME.to_owned(), JSON_EXTENSION.to_owned())].into());
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let schema = Schema::new(vec![
        Field::new("at", timestamp_type(), false),
        Field::new("text", DataType::Utf8, true),
        Field::new("number", DataType::Int64, false),
        Field::new("list", lists.data_type().clone(), true),
        json,
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(vec![-1, 0]).with_timezone("UTC")),
        Arc::new(StringArray::from(vec![Some("a,\"b\"\tc"), None])),
        Arc::new(Int64Array::from(vec![i64::MAX, -1])),
        Arc::new(lists),
        Arc::new(StringViewArray::from(vec![Some("{\"a\":\n1}"), None])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn encoded(format: Format, batches: &[RecordBatch]) -> Vec<u8> {
    let mut encoder = Encoder::new(format, &rows().schema()).unwrap();
    let mut bytes: Vec<u8> = batches.iter().flat_map(|batch| encoder.write(batch).unwrap()).collect();
    bytes.extend(encoder.finish().unwrap());
    bytes
}

fn text(format: Format) -> String {
    String::from_utf8(encoded(format, &[rows()])).unwrap()
}

#[test]
fn json_has_nulls_whole_numbers_and_json_as_json() {
    let first = r#"{"at":"1969-12-31T23:59:59.999999Z","text":"a,\"b\"\tc","number":9223372036854775807,"list":[1,null],"json":{"a": 1}}"#;
    let second = r#"{"at":"1970-01-01T00:00:00Z","text":null,"number":-1,"list":null,"json":null}"#;
    assert_eq!(text(Format::Json), format!("[{first},{second}]"));
    assert_eq!(text(Format::JsonLines), format!("{first}\n{second}\n"));
}

#[test]
fn csv_has_one_header_and_lists_as_json() {
    let line = "1969-12-31T23:59:59.999999Z,\"a,\"\"b\"\"\tc\",9223372036854775807,\"[1,null]\",";
    assert!(text(Format::Csv).starts_with(&format!("at,text,number,list,json\n{line}")), "{}", text(Format::Csv));
    let twice = String::from_utf8(encoded(Format::Csv, &[rows(), rows()])).unwrap();
    assert_eq!(twice.matches("at,text").count(), 1);
    assert!(text(Format::Tsv).starts_with("at\ttext\tnumber\tlist\tjson\n"));
}

#[test]
fn arrow_and_parquet_read_back_as_the_same_rows() {
    let stream = StreamReader::try_new(Cursor::new(encoded(Format::Arrow, &[rows(), rows()])), None).unwrap();
    assert_eq!(stream.map(Result::unwrap).collect::<Vec<_>>(), [rows(), rows()]);
    let parquet = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(encoded(Format::Parquet, &[rows()]))).unwrap().build().unwrap();
    let read: Vec<RecordBatch> = parquet.map(Result::unwrap).collect();
    assert_eq!(read[0].columns(), rows().columns());
}

#[test]
fn a_table_of_text_says_how_many_rows_it_has() {
    assert!(text(Format::Pretty).ends_with("(2 rows)\n"), "{}", text(Format::Pretty));
}

#[test]
fn an_answer_without_rows_still_says_what_its_columns_are() {
    let empty = [RecordBatch::new_empty(rows().schema())];
    assert_eq!(encoded(Format::Json, &empty), b"[]");
    assert_eq!(encoded(Format::JsonLines, &empty), b"");
    assert_eq!(encoded(Format::Csv, &empty), b"at,text,number,list,json\n");
    assert_eq!(StreamReader::try_new(Cursor::new(encoded(Format::Arrow, &empty)), None).unwrap().schema(), rows().schema());
}
